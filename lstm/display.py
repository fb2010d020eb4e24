"""What one sees while a model trains: a live line, and at each evaluation a line that stays, with a sample."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from lstm import sampling
from lstm.config import SamplingConfig
from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer
from lstm.training import Moment, Run

_SAMPLE = SamplingConfig(temperature=0.8, top_k=40, length=60, seed=0)


class Display:
    """The live line of a run, on standard error, and its evaluations, on standard output."""

    def __init__(self, run: Run, tokenizer: Tokenizer):
        self._run, self._tokenizer = run, tokenizer
        count = sum(p.numel() for p in run.model.parameters())
        precision = str(run.dtype).removeprefix("torch.")
        print(
            f"{count:,} parameters, {run.lanes.tokens:,} tokens, {run.state.hidden.device.type}, {precision}",
            flush=True,
        )

    def __enter__(self) -> "Display":
        self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f}% {bar:20} {desc}", disable=None, dynamic_ncols=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.close()

    def update(self, moment: Moment) -> None:
        """Redraw the live line; print what was found if this was an evaluation."""
        run = self._run
        bits, rate = f"{run.train_bits_per_byte:.3f}", f"{moment.tokens_per_second:,.0f} tokens/s"
        self._bar.n = run.progress
        self._bar.set_description_str(
            f"step {run.step:,}, loss {run.loss:.3f}, {bits} bits/byte, {rate}, {clock(moment.seconds_left)} left"
        )
        if moment.score:
            sample = write(run.reader, self._tokenizer, _SAMPLE)
            self._bar.clear()
            print(
                f"{clock(run.seconds)}  step {run.step:,}  training {bits}  validation "
                f"{moment.score.bits_per_byte:.3f} bits/byte  {rate}\n    {sample!r}",
                flush=True,
            )


def write(model: LanguageModel, tokenizer: Tokenizer, settings: SamplingConfig, prompt: str = "") -> str:
    """A text as the model goes on from a prompt, one step a token."""
    device = model.output_bias.device
    row, uniform = sampling.Settings.of([settings]), sampling.Uniform(settings.seed)
    begun, state, chosen = tokenizer.encode(prompt), model.initial_state(1), []
    with torch.no_grad():
        for i in tokenizer.encode("\n") + begun:
            logits, state, _ = model.step(torch.tensor([i], device=device), state)
        for position in range(settings.length):
            choice = sampling.choose(logits.cpu().numpy(), row, np.array([uniform.at(position)]))
            chosen.append(int(choice.ids[0]))
            logits, state, _ = model.step(torch.tensor(chosen[-1:], device=device), state)
    return tokenizer.decode(begun + chosen)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop that the loop can ask for; a second one ends at once."""
    received = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)

    before = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def clock(seconds: float) -> str:
    """Minutes and seconds, as 3:07, or hours as 1:03:07."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
