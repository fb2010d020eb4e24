"""Many readers' texts through one runtime: a bounded number at a time, fair turns, and no reader waits for another's.

One thread owns the runtime; readers are coroutines.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from lstm.batch import Batch
from lstm.checkpoint import Checkpoint
from lstm.config import Refused, SamplingConfig
from lstm.runtime import initial_state, open_runtime
from lstm.stats import Stats, Tally
from lstm.stream import AHEAD, Delivery, Stream
from lstm.text import Moment, Text, TokenEvent

__all__ = ["Busy", "Engine", "Moment", "Stats", "Stream", "TokenEvent", "write"]

LONGEST_PROMPT = 4096  # tokens
_WAKE = 0.004  # seconds between two wakings of the readers: they take many events at once as fast as one
_LOOK = 0.25  # seconds between two looks at those whose time may be up


class Busy(Refused):
    """There is no place now. Its text says when to try again."""


class Engine:
    """Writes texts. The same prompt, settings and seed give the same text whoever else reads."""

    def __init__(
        self, checkpoint: Checkpoint, slots: int = 64, line: int = 64, deadline: float = 120.0, patience: float = 30.0
    ):
        """slots: texts at a time; line: requests that may wait for one; deadline: seconds that a request may take.

        patience: seconds that a text waits for a reader who does not read, before it is dropped.
        """
        self.checkpoint, self.slots = checkpoint, slots
        self._line_length, self._deadline, self._patience = line, deadline, patience
        self.runtime = open_runtime(checkpoint)
        self._batch = Batch(self.runtime, slots)
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._line: list[Delivery] = []
        self._running: dict[Text, Delivery] = {}
        self._news: set[Delivery] = set()
        self._woken = 0.0
        self._tally = Tally()
        self._thread: threading.Thread | None = None
        self._nudged = self._closed = False

    def stream(
        self,
        prompt: str,
        settings: SamplingConfig,
        after: Moment | None = None,
        *,
        watch: bool = False,
        reader: str = "",
        reached: Moment | None = None,
    ) -> Stream:
        """The tokens that follow a prompt, or follow a prompt that is set after a moment of another text.

        With an empty prompt, a moment is gone on from: the same settings give what stood there, others a branch, and
        the last moment continues the text. watch: events carry gates. reader: whose it is; free slots go to the
        reader who holds fewest. reached: how far this very text had come with another engine, to go on from there.
        Reading it raises Refused for a prompt that is no text or too long, and Busy.
        """
        return Stream(lambda: self._ask(prompt, settings, after, watch, reader, reached), self._nudge)

    @property
    def running(self) -> int:
        """Texts that hold a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._line)

    @property
    def alive(self) -> bool:
        """Whether texts are written, or would be."""
        return not self._closed and (self._thread is None or self._thread.is_alive())

    def stats(self) -> Stats:
        """Counts since the start, and the speed of late."""
        return self._tally.stats(self.running, self.waiting, self.slots)

    def close(self) -> None:
        """End every text with Busy and stop the thread; may be called twice."""
        self._closed = True
        self._nudge()
        if self._thread:
            self._thread.join()

    def _ask(
        self, prompt: str, settings: SamplingConfig, after: Moment | None, watch: bool, reader: str,
        reached: Moment | None,
    ) -> Delivery:  # fmt: skip
        moment = start(prompt, after, self.checkpoint)
        number = next(self._numbers)
        text = Text(moment, settings, self.checkpoint.tokenizer, number, watch, self._deadline, reached)
        delivery = Delivery(text, reader, asyncio.get_running_loop())
        with self._changed:
            if self._closed:
                raise Busy("the server is stopping: try again in a minute")
            if len(self._line) >= self._line_length + self.slots - self.running:
                self._tally.refused += 1
                raise Busy(f"{self.running} texts are being written and {self.waiting} wait: try again in a minute")
            self._line.append(delivery)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()
        self._nudge()
        return delivery

    def _nudge(self) -> None:
        with self._changed:
            self._nudged = True
            self._changed.notify()

    def _run(self) -> None:
        while not self._closed:
            try:
                if not self._turn():
                    self._rest()
            except Exception as error:  # the runtime's own: all texts end, the engine goes on
                self._end_all(error)
                self._batch = Batch(self.runtime, self.slots)
        self._end_all(Busy("the server is stopping: try again in a minute"))

    def _turn(self) -> bool:
        """One turn of the batch, if there is anything to write."""
        with self._changed:
            self._nudged = False
            if not self._look():
                return False
        began = time.perf_counter()
        events = self._batch.turn()
        self._tally.turn(time.perf_counter() - began, len(events))
        self._deliver(events)
        return True

    def _rest(self) -> None:
        """Wait for a nudge, or for someone's time to be up."""
        self._wake()
        with self._changed:
            if not self._nudged:
                self._changed.wait(_LOOK if self._line or self._running else None)

    def _look(self) -> bool:
        """Let go of those who left, go on with those who have read, drop who is late, fill free slots. Any to write?"""
        now = time.monotonic()
        for text, delivery in list(self._running.items()):
            if delivery.left:
                self._tally.left += 1
                self._let_go(text)
            elif delivery.paused and delivery.may_go_on():
                delivery.paused = 0.0
                self._batch.join(text)
            elif delivery.paused and now - delivery.paused > self._patience:
                self._tally.dropped += 1
                self._let_go(text, Refused(f"nobody read this text for {self._patience:.0f} seconds: ask for it again"))
        for delivery in [delivery for delivery in self._line if delivery.left or delivery.text.late()]:
            self._line.remove(delivery)
            self._tell(delivery, Busy("no place became free in time: try again in a minute"))
        while self._line and self.running < self.slots:
            held = Counter(delivery.reader for delivery in self._running.values())
            delivery = min(self._line, key=lambda waiting: held[waiting.reader])  # of equals, who came first
            self._line.remove(delivery)
            self._running[delivery.text] = delivery
            self._batch.join(delivery.text)
        return len(self._batch) > 0

    def _let_go(self, text: Text, error: Exception | None = None) -> None:
        self._batch.leave(text)
        self._tell(self._running.pop(text), error)

    def _tell(self, delivery: Delivery, error: Exception | None) -> None:
        delivery.error = error
        if delivery.waiter:
            self._news.add(delivery)

    def _deliver(self, events: list[tuple[Text, TokenEvent | Exception]]) -> None:
        urgent = False
        for text, event in events:
            delivery = self._running[text]
            if isinstance(event, Exception):
                self._tally.failed += 1
                self._let_go(text, event)
                urgent = True
                continue
            delivery.events.append(event)
            if delivery.waiter:
                self._news.add(delivery)
            if event.ended:
                self._tally.finished += 1
                del self._running[text]
            elif len(delivery.events) >= AHEAD:
                self._batch.leave(text)
                delivery.paused = time.monotonic()
            urgent = urgent or bool(event.ended) or text.written == text.first + 1
        if urgent or time.monotonic() - self._woken > _WAKE:
            self._wake()

    def _wake(self) -> None:
        """Tell the readers that there is something to read, once for each loop."""
        self._woken = time.monotonic()
        news, self._news = self._news, set()
        for loop in {delivery.loop for delivery in news}:
            there = [delivery for delivery in news if delivery.loop is loop]
            try:
                loop.call_soon_threadsafe(lambda there=there: [delivery.wake() for delivery in there])
            except RuntimeError:  # the loop is closed, and its readers are gone with it
                for delivery in there:
                    delivery.left = True

    def _end_all(self, error: Exception) -> None:
        with self._changed:
            for text in list(self._running):
                self._tally.failed += 1
                self._let_go(text, error)
            for delivery in self._line:
                self._tell(delivery, error)
            self._line.clear()
        self._wake()


def write(
    checkpoint: Checkpoint, prompt: str, settings: SamplingConfig, after: Moment | None = None
) -> Iterator[TokenEvent]:
    """The events of one text, the same as an engine's, without a thread or an event loop. Raises Refused."""
    runtime = open_runtime(checkpoint)
    text = Text(start(prompt, after, checkpoint), settings, checkpoint.tokenizer)
    batch = Batch(runtime, slots=1)
    batch.join(text)
    while len(batch):
        for _, event in batch.turn():
            if isinstance(event, Exception):
                raise event
            yield event


def start(prompt: str, after: Moment | None, checkpoint: Checkpoint) -> Moment:
    """Where a text begins: after a line break and the prompt, or after a moment and a prompt that is set there.

    Raises Refused for a prompt that is no text or too long, and for a moment of another model.
    """
    tokenizer, nothing = checkpoint.tokenizer, initial_state(checkpoint.config)
    if after is None:
        ids = (*tokenizer.encode("\n"), *tokenizer.encode(prompt))
        after = Moment(ids, written=0, read=0, state=nothing)
    elif not _fits(after, tokenizer.vocab_size, nothing.hidden.shape):
        raise Refused("this text was written by another model: begin a new one")
    elif prompt:
        ids = (*after.ids, *tokenizer.encode(prompt, after=tokenizer.decode(after.ids[-8:])))
        after = Moment(ids, written=0, read=after.read, state=after.state)
    if (length := len(after.ids) - after.read) > LONGEST_PROMPT:
        raise Refused(f"the prompt has {length:,} tokens: shorten it to {LONGEST_PROMPT:,}")
    return after


def _fits(moment: Moment, vocab_size: int, shape: tuple[int, ...]) -> bool:
    """Whether a runtime can go on from a moment; one that cannot would stop everybody's texts."""
    known = bool(moment.ids) and min(moment.ids) >= 0 and max(moment.ids) < vocab_size
    stands = 0 <= moment.read < len(moment.ids) and 0 <= moment.written <= len(moment.ids)
    return known and stands and all(np.shape(part) == shape for part in moment.state)
