"""Several processes that train one model, each on its share of the lanes, on one machine or several.

torchrun starts them. It comes with torch, and little is needed here: nothing more to install.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lstm.config import Refused

PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Workers:
    """How many processes train together, and which of them this is: on which machine, and which one there."""

    rank: int = 0
    count: int = 1
    machine: int = 0
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes the checkpoint and the run, and speaks of them."""
        return self.rank == 0

    @property
    def leads(self) -> bool:
        """Whether this process writes what its machine needs, and says what it refuses."""
        return self.local == 0

    def share(self, lanes: int) -> slice:
        """The lanes of this process. Raises Refused if they cannot be shared evenly."""
        if lanes % self.count:
            raise Refused(f"lanes = {lanes}: {self.count} processes need a multiple of {self.count}")
        each = lanes // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, model: nn.Module) -> None:
        """Put the mean of all processes' gradients in the place of each process's own."""
        if self.count > 1:
            gradients = [p.grad for p in model.parameters()]
            whole = torch.cat([g.flatten() for g in gradients])
            _all(dist.all_reduce, whole)
            parts = (whole / self.count).split([g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def begin_alike(self, model: nn.Module) -> None:
        """Put the first process's weights in the place of each process's own."""
        if self.count > 1:
            for weight in model.parameters():
                _all(dist.broadcast, weight.data, 0)

    def agree(self, value: float) -> float:
        """What the first process says."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64)
        _all(dist.broadcast, said, 0)
        return said.item()

    def any(self, wish: bool) -> bool:
        """Whether one process or more wishes it."""
        if self.count == 1:
            return wish
        wishes = torch.tensor([int(wish)])
        _all(dist.all_reduce, wishes, dist.ReduceOp.MAX)
        return bool(wishes.item())

    def gather(self, part: Tensor, dim: int) -> Tensor:
        """All processes' parts, of one shape, side by side along a dimension."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        _all(dist.all_gather, parts, part.contiguous())
        return torch.cat(parts, dim)

    def collect(self, content: bytes) -> list[bytes]:
        """What each process has, in their order."""
        if self.count == 1:
            return [content]
        sizes = self.gather(torch.tensor([len(content)]), 0).tolist()
        width = max(*sizes, 1)
        whole = self.gather(_tensor(content.ljust(width, b"\0")), 0).numpy().tobytes()
        return [whole[n * width : n * width + size] for n, size in enumerate(sizes)]

    def give(self, content: bytes) -> bytes:
        """What the first process has, whatever the others have."""
        if self.count == 1:
            return content
        size = int(self.agree(len(content)))
        whole = _tensor(content) if self.first and size else torch.empty(size, dtype=torch.uint8)
        _all(dist.broadcast, whole, 0)
        return whole.numpy().tobytes()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work that each process does by itself; what one of them refuses, all do, so that none waits for it."""
        sentence = ""
        try:
            yield
        except Refused as refusal:
            sentence = str(refusal)
        for said in self.collect(sentence.encode()):
            if said:
                raise Refused(said.decode())


ALONE = Workers()


def join() -> Workers:
    """The processes that torchrun started, or this one alone. Raises Refused if they do not find one another."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    _all(_meet)
    machine, local = int(os.environ["GROUP_RANK"]), int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local)
    return Workers(dist.get_rank(), count, machine, local)


def _meet() -> None:
    """Wait for all processes, a few minutes, since one whose command line was refused never comes; then join them."""
    store, rank, count = next(dist.rendezvous("env://"))
    store.set(f"here/{rank}", "")
    store.wait([f"here/{n}" for n in range(count)], PATIENCE)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count)  # for CPUs; it carries CUDA tensors too


def _all(operation: Callable[..., object], *values: object) -> None:
    """What all processes do at once. Raises Refused when one of them is gone, or cannot be reached."""
    try:
        operation(*values)
    except RuntimeError as error:
        mend = "mend what it said, then give all machines their command again, with --resume if a run was saved"
        raise Refused(f"another process of this run is gone or out of reach: {mend}") from error


def _tensor(content: bytes) -> Tensor:
    """Bytes as a tensor, (N,) uint8."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
