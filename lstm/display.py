"""What one sees while a model trains: a live line, and at each evaluation a line that stays, with a sample."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from tqdm import tqdm

from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer
from lstm.training import Moment, Run

_PREVIEW = 60  # tokens


class Display:
    """The live line of a run, on standard error, and its evaluations, on standard output."""

    def __init__(self, run: Run, tokenizer: Tokenizer, stop: Callable[[], bool]):
        """stop: whether somebody waits for the end, so that nothing more is written for show."""
        self._run, self._tokenizer, self._stop = run, tokenizer, stop
        self._quiet = not run.workers.first
        count = sum(p.numel() for p in run.model.parameters())
        precision = str(run.dtype).removeprefix("torch.")
        if not self._quiet:
            place = f"{run.state.hidden.device.type}, {precision}"
            print(f"{count:,} parameters, {run.lanes.tokens:,} tokens, {place}", flush=True)

    def __enter__(self) -> "Display":
        line = "{percentage:3.0f}% {bar:20} {desc}"
        self._bar = tqdm(total=1.0, bar_format=line, disable=self._quiet or None, dynamic_ncols=True)
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
        if moment.score and not self._quiet:
            sample = preview(run.reader, self._tokenizer, self._stop)
            self._bar.clear()
            print(
                f"{clock(run.seconds)}  step {run.step:,}  training {bits}  validation "
                f"{moment.score.bits_per_byte:.3f} bits/byte  {rate}\n    {sample!r}",
                flush=True,
            )


@torch.no_grad()
def preview(model: LanguageModel, tokenizer: Tokenizer, stop: Callable[[], bool]) -> str:
    """A short text at temperature 0.8 among the 40 likeliest, shorter if stop() says so.

    It is drawn from a seed of its own: global draws stay untouched.
    """
    generator = torch.Generator().manual_seed(0)
    ids, state, chosen = tokenizer.encode("\n"), model.initial_state(1), []
    for _ in range(_PREVIEW):
        if stop():
            break
        logits, state, _ = model.step(torch.tensor(ids, device=model.output_bias.device), state)
        best, places = logits[0].float().cpu().topk(40)
        ids = [int(places[torch.multinomial((best / 0.8).softmax(0), 1, generator=generator)])]
        chosen += ids
    return tokenizer.decode(chosen)


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


@contextmanager
def said_when_stopped(sentence: str) -> Iterator[None]:
    """Have SIGTERM end what is being done as Ctrl-C does, and say a sentence then."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(sentence, flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def clock(seconds: float) -> str:
    """Minutes and seconds, as 3:07, or hours as 1:03:07."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
