"""The engine's interface over a cluster: texts are written by replicas elsewhere, and outlive each of them.

A text whose replica is lost goes on with another from the last state that came from it. That is exact: what is drawn
depends on the seed and the place alone.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from lstm.checkpoint import Checkpoint
from lstm.config import SamplingConfig
from lstm.engine import Busy, start
from lstm.runtime import State
from lstm.stats import Stats, Tally
from lstm.stream import Stream
from lstm.text import Moment, TokenEvent, Trail

PERIOD = 0.05  # seconds between two parts of a text, as between two frames of the page
PARTS = 128  # a second, of all texts of a replica together: each costs it about a millisecond, however small
KEEP = 64  # tokens between two states that are sent
MOVES = 30  # replicas that one text may lose, with a growing pause, before it is given up
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds before the next try


class Part(NamedTuple):
    """What comes of a text at a time: some events, and a state (L, H) after so many ids where it is time for one."""

    events: list[TokenEvent]
    read: int = 0
    state: State | None = None


class Lost(Exception):
    """The replica that wrote a text is gone, or cannot be reached."""


Ask = Callable[[Moment, Moment | None], AsyncIterator[Part]]


async def parts(stream: Stream, texts: Callable[[], int]) -> AsyncIterator[Part]:
    """A stream's events in parts, the first token on its own and at once, then as many as a period brings.

    texts: how many are being written beside it. The more there are, the longer is the period.
    """
    pending: list[TokenEvent] = []
    due, sent = 0.0, -KEEP
    async for event in stream:
        pending.append(event)
        if not event.ended and time.monotonic() < due:
            continue
        moment = stream.moment()
        if event.ended or moment.read >= sent + KEEP:
            sent = moment.read
            yield Part(pending, moment.read, moment.state)
        else:
            yield Part(pending)
        pending, due = [], time.monotonic() + max(PERIOD, texts() / PARTS)


class RemoteEngine:
    """Has its texts written by others. To a reader it is what Engine is."""

    def __init__(self, checkpoint: Checkpoint, connect: Callable[[Checkpoint], Callable[..., AsyncIterator[Part]]]):
        """connect: gives what asks a replica with this checkpoint for (start, settings, watch, reached)."""
        self.checkpoint = checkpoint
        self._write = connect(checkpoint)
        self._numbers = itertools.count()
        self._running: set[RemoteStream] = set()
        self._tally = Tally()
        self.moved = 0  # texts that went on with another replica

    def stream(
        self, prompt: str, settings: SamplingConfig, after: Moment | None = None, *, watch: bool = False,
    ) -> "RemoteStream":  # fmt: skip
        """The same as Engine.stream: what it gives, and what it raises."""

        def ask(moment: Moment, reached: Moment | None) -> AsyncIterator[Part]:
            return self._write(moment, settings, watch, reached)

        return RemoteStream(self, lambda: start(prompt, after, self.checkpoint), ask, next(self._numbers))

    @property
    def running(self) -> int:
        """Texts that were asked for here and are not at their end."""
        return len(self._running)

    def stats(self) -> Stats:
        """Counts of what was asked for here. A turn is a part: how long it was waited for."""
        return self._tally.stats(self.running, 0, self.running)

    def close(self) -> None:
        """Leave every text."""
        for stream in list(self._running):
            stream.leave()


class RemoteStream:
    """What Stream is, of a text that is written elsewhere."""

    def __init__(self, engine: RemoteEngine, begin: Callable[[], Moment], ask: Ask, number: int):
        """begin: where the text begins, or raises; ask: has it written from there, or on from where it had come."""
        self._engine, self._begin, self._ask, self.number = engine, begin, ask, number
        self._parts: AsyncIterator[Part] | None = None
        self._trail: Trail | None = None
        self._events: deque[TokenEvent] = deque()
        self._left = False
        self._late: float | None = None  # seconds between the request and when the replica began to count

    def __aiter__(self) -> "RemoteStream":
        return self

    async def __anext__(self) -> TokenEvent:
        if self._trail is None:
            self._start = self._begin()
            self._trail, self._asked = Trail(self._start), time.perf_counter()
            self._engine._running.add(self)
        while not self._events:
            if self._left:
                raise StopAsyncIteration
            await self._fetch()
        event = self._events.popleft()
        if event.ended:
            self._end()
        return event

    async def aclose(self) -> None:
        """Stop the work. Nothing happens if the text has ended."""
        self.leave()

    def leave(self) -> None:
        """The same, from where nothing can be awaited."""
        if self in self._engine._running:
            self._engine._tally.left += 1
        self._end()

    def moment(self, written: int | None = None) -> Moment:
        """The place after so many tokens written since the prompt, the end if None.

        Raises IndexError for a place that this stream has not written, RuntimeError if it was never read.
        """
        if self._trail is None:
            raise RuntimeError("a stream that was never read has no moments")
        return self._trail.moment(written)

    async def _fetch(self) -> None:
        """Wait for a part, from whoever is there to write it. Raises Refused."""
        tally, began = self._engine._tally, time.perf_counter()
        try:
            part = await self._next()
        except asyncio.CancelledError:
            self.leave()
            raise
        except Exception as error:
            tally.failed += 1
            tally.refused += isinstance(error, Busy)
            self._end()
            raise
        tally.turn(time.perf_counter() - began, len(part.events))
        if self._late is None:
            self._late = time.perf_counter() - self._asked - part.events[-1].seconds
        if part.state is not None:
            self._trail.keep(part.read, part.state)
        for event in part.events:
            self._trail.ids.append(event.id)
            self._trail.ended = event.ended
            self._events.append(event._replace(stream=self.number, seconds=event.seconds + self._late))
        tally.finished += bool(self._trail.ended)

    async def _next(self) -> Part:
        """A part from whoever is there to write it."""
        for lost in range(MOVES):
            try:
                if self._parts is None:
                    come = self._trail.written > self._start.written
                    self._parts = self._ask(self._start, self._trail.moment() if come else None)
                return await anext(self._parts)
            except (Lost, StopAsyncIteration):
                self._parts = self._late = None
                self._engine.moved += 1
                await asyncio.sleep(min(_PAUSE * 2**lost, _LONGEST_PAUSE))
        raise Busy("no machine is there to write this text: try again in a minute")

    def _end(self) -> None:
        self._left = True
        self._engine._running.discard(self)
        self._parts = None  # the event loop closes what is dropped, which ends the work

    def __del__(self) -> None:
        self._end()
