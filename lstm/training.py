"""Truncated backpropagation over contiguous lanes: the step, the schedule, the loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lstm import optimizers
from lstm.config import Refused, TrainConfig
from lstm.data import Lanes
from lstm.evaluation import estimate, never
from lstm.model import Dropout, LanguageModel, State, surprise
from lstm.parallel import ALONE, Workers
from lstm.score import Score


@dataclass
class Run:
    """Everything a training run is made of; what changes from step to step is what resuming restores."""

    config: TrainConfig
    model: LanguageModel
    lanes: Lanes
    state: State
    optimizers: list[torch.optim.Optimizer]
    average: AveragedModel | None
    dtype: torch.dtype
    train_bytes: int
    workers: Workers = ALONE
    loss: float = math.nan  # nats per token, a running mean
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)

    @property
    def progress(self) -> float:
        """How much of the run is done, 0 to 1: by steps if they are given, else by the clock."""
        if self.config.steps:
            return min(1.0, self.step / self.config.steps)
        return min(1.0, self.seconds / (60 * self.config.minutes))

    @property
    def due(self) -> bool:
        """Whether the validation text is to be read before the next step: after one, and once at most."""
        read = self.history[-1]["step"] if self.history else 0
        return read < self.step and self.progress * self.config.evaluations >= len(self.history) + 1

    @property
    def done(self) -> bool:
        """Whether nothing is left to do; a run whose time was gone before it began takes one step all the same."""
        return self.step > 0 and self.progress >= 1 and not self.due

    @property
    def train_bits_per_byte(self) -> float:
        """The running loss over the bytes of the training text."""
        return self.loss / math.log(2) * self.lanes.tokens / self.train_bytes

    @property
    def reader(self) -> LanguageModel:
        """The model to read with: the averaged one if there is one."""
        return self.average.module if self.average else self.model


def start(
    config: TrainConfig,
    model: LanguageModel,
    ids_of: Callable[[int], np.ndarray],
    train_bytes: int,
    workers: Workers = ALONE,
) -> Run:
    """A run at its first step, over a text of so many bytes whose ids, (N,), ids_of(epoch) gives.

    Raises Refused for a device that is not there, a text that is too short, or lanes that cannot be shared.
    """
    device = choose_device(config.device)
    model.to(device)
    share = workers.share(config.lanes)
    torch.manual_seed(config.seed + workers.rank)  # each process draws dropout of its own
    return Run(
        config=config,
        model=model,
        lanes=Lanes(ids_of, config.lanes, config.window, config.seed, share),
        state=model.initial_state(share.stop - share.start),
        optimizers=optimizers.make_optimizers(model, config),
        average=AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average)) if config.average else None,
        dtype=choose_dtype(config.precision, device),
        train_bytes=train_bytes,
        workers=workers,
    )


def choose_device(name: str) -> torch.device:
    """CUDA where there is one, unless told otherwise. Raises Refused if a missing device is asked for."""
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused("device = 'cuda': there is no CUDA device here, use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32."""
    if name != "auto":
        return getattr(torch, name)
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def check(run: Run) -> None:
    """Raise Refused for weights that are not finite, or would not be in the half precision of a checkpoint."""
    for name, weight in [*run.model.state_dict().items(), *run.reader.state_dict().items()]:
        if not weight.half().isfinite().all():
            raise Refused(f"after step {run.step} {name} is not finite in half precision: {_too_fast(run)}")


def _too_fast(run: Run) -> str:
    """The likely cause of numbers that are not finite, and what to do."""
    rates = f"learning_rate = {run.config.learning_rate} or matrix_rate = {run.config.matrix_rate}"
    return f"most likely {rates} is too high, start again with less (what was saved before is untouched)"


def take_step(run: Run) -> float:
    """One update from the next window of every lane; returns its loss, nats per token. Raises Refused if not finite."""
    config, device = run.config, run.state.hidden.device
    batch = next(run.lanes)
    inputs, targets = (torch.from_numpy(a).to(device) for a in batch)
    dropout = Dropout(
        config.dropout_embedding,
        config.dropout_input,
        config.dropout_hidden,
        config.dropout_output,
        config.dropout_recurrent,
    )
    logits, state = run.model(inputs, run.state, dropout, run.dtype)
    loss = surprise(logits, targets).mean()
    loss.backward()
    run.workers.average(run.model)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), config.clip)
    if not torch.isfinite(loss + norm):
        found = f"a loss of {loss.item():.3g} and a gradient of {norm.item():.3g}"
        raise Refused(f"step {run.step + 1} has {found}: {_too_fast(run)}")
    optimizers.move(run.optimizers, config.warmup, run.progress)
    if run.average:
        run.average.update_parameters(run.model)
    run.state = State(state.hidden.detach(), state.cell.detach())
    run.step += 1
    run.tokens += targets.numel() * run.workers.count
    return loss.item()


@dataclass(frozen=True)
class Moment:
    """What one sees after a step, or with a score after the validation text was read."""

    tokens_per_second: float
    seconds_left: float
    score: Score | None = None


def train(run: Run, valid_ids: list[int], valid_bytes: int, stop: Callable[[], bool] = never) -> Iterator[Moment]:
    """Run to the end or until stop() says so in one process, giving a Moment after every step and every evaluation.

    A stop in the midst of an evaluation abandons it: it is still due, so a resumed run begins with it.
    Raises Refused for numbers that are not finite.
    """
    run.model.train()
    wanted = lambda: run.workers.any(stop())
    began, seconds, tokens = time.perf_counter(), run.seconds, run.tokens
    while not run.done and not wanted():
        score = None
        if run.due:
            score = estimate(run.reader, valid_ids, valid_bytes, wanted)
            if score is None:
                return
            _record(run, score)
        else:
            loss = take_step(run)
            run.loss = loss if math.isnan(run.loss) else 0.95 * run.loss + 0.05 * loss
            run.seconds = run.workers.agree(seconds + time.perf_counter() - began)
        spent = run.seconds - seconds
        left = run.seconds / run.progress * (1 - run.progress) if run.progress else math.inf
        yield Moment((run.tokens - tokens) / spent if spent else 0.0, left, score)


def _record(run: Run, score: Score) -> None:
    """Append a score to the history. Raises Refused if it is not finite."""
    if not math.isfinite(score.nats):
        raise Refused(f"after step {run.step} the validation text costs {score.nats} nats: {_too_fast(run)}")
    run.history.append(
        {
            "step": run.step,
            "tokens": run.tokens,
            "seconds": round(run.seconds, 1),
            "train_bits_per_byte": run.train_bits_per_byte,
            "valid_bits_per_byte": score.bits_per_byte,
        }
    )
