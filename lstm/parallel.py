"""Several processes that train one model, each on its share of the lanes, started by torchrun.

torchrun comes with torch, and one average of the gradients is all that is needed here: nothing more to install.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lstm.config import Refused


@dataclass(frozen=True)
class Workers:
    """How many processes train together, and which of them this is; the first one writes."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

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
            dist.all_reduce(whole)
            parts = (whole / self.count).split([g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Go on when all processes have come this far."""
        if self.count > 1:
            dist.barrier()

    def agree(self, value: float) -> float:
        """What the first process says."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(said, 0)
        return said.item()

    def gather(self, part: Tensor, dim: int) -> Tensor:
        """All processes' parts side by side along a dimension."""
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts, dim)


ALONE = Workers()


def join() -> Workers:
    """The processes that torchrun started, or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    dist.init_process_group("gloo")  # for CPUs; it carries CUDA tensors too
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return Workers(dist.get_rank(), count)
