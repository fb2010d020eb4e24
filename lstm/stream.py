"""What lies between the engine's thread and one reader: a bounded queue of events, and who waits for whom."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lstm.text import Moment, Text, TokenEvent

AHEAD = 128  # events that a text may be ahead of its reader; then it pauses


@dataclass(eq=False)
class Delivery:
    """The thread puts events in, the reader takes them out. Appending and taking need no lock under CPython."""

    text: Text
    reader: str
    loop: asyncio.AbstractEventLoop
    events: deque[TokenEvent] = field(default_factory=deque)
    error: Exception | None = None  # told once the events are read
    left: bool = False  # nobody reads any more
    paused: float = 0.0  # since when, in seconds of time.monotonic; 0 if it is not
    waiter: asyncio.Future | None = None

    def wake(self) -> None:
        """Let the reader look again. Runs in the reader's loop."""
        if self.waiter and not self.waiter.done():
            self.waiter.set_result(None)

    def may_go_on(self) -> bool:
        """Whether a paused text's reader has read enough of it."""
        return len(self.events) <= AHEAD // 2


class Stream:
    """A reader's end: an asynchronous iterator of token events, and the moments of the text.

    It asks for a slot when it is first read. Closing it, losing it or cancelling its task stops the work.
    """

    def __init__(self, ask: Callable[[], Delivery], nudge: Callable[[], None]):
        """ask: takes a place in line, or raises; nudge: tells the thread that something has changed."""
        self._ask, self._nudge = ask, nudge
        self._delivery: Delivery | None = None

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> TokenEvent:
        if self._delivery is None:
            self._delivery = self._ask()
        delivery = self._delivery
        while not delivery.events:
            if delivery.left:
                raise StopAsyncIteration
            if delivery.error:
                delivery.left = True
                raise delivery.error
            await self._news(delivery)
        event = delivery.events.popleft()
        if event.ended:
            delivery.left = True
        elif delivery.paused and delivery.may_go_on():
            self._nudge()
        return event

    async def _news(self, delivery: Delivery) -> None:
        delivery.waiter = delivery.loop.create_future()
        try:
            if not delivery.events and not delivery.error:  # else they came before the thread could see the waiter
                await delivery.waiter
        except asyncio.CancelledError:
            self._leave()
            raise
        finally:
            delivery.waiter = None

    async def aclose(self) -> None:
        """Stop the work. Nothing happens if the text has ended."""
        self._leave()

    def moment(self, written: int | None = None) -> Moment:
        """The place after so many tokens written since the prompt, the end if None.

        Raises IndexError for a place that this stream has not written, RuntimeError if it was never read.
        """
        if self._delivery is None:
            raise RuntimeError("a stream that was never read has no moments")
        return self._delivery.text.moment(written)

    def _leave(self) -> None:
        if self._delivery and not self._delivery.left:
            self._delivery.left = True
            self._nudge()

    def __del__(self) -> None:
        self._leave()
