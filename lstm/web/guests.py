"""Who is here: how much each address has asked for, who listens to it, and what is let go when nobody does.

A call is open from the moment it is asked until its last message, or until its reader is gone.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lstm.config import Refused

SILENCE = 5.0  # seconds that an answer waits for somebody to listen
SOON, BUSY = 5, 30  # seconds after which to try again
SHORT = 16  # questions with one short answer that an address may have open


class Refusal(Refused):
    """A request that is turned away: the HTTP status, one sentence, and after how many seconds to try again."""

    def __init__(self, status: int, sentence: str, again: int = 0):
        super().__init__(sentence)
        self.status, self.again = status, again


class Endpoint(NamedTuple):
    """What may be called: Gradio's number and name for it, its parameters' defaults, whether it streams a text."""

    number: int
    name: str
    parameters: dict[str, Any]  # in their order
    streams: bool

    def values(self, asked: dict) -> list:
        """One for each parameter, some of them given by name. Raises Refusal for a name that is none of theirs."""
        unknown = [name for name in asked if name not in self.parameters]
        if unknown:
            names = ", ".join(self.parameters)
            raise Refusal(422, f"{unknown[0][:64]} is no parameter of {self.name}: choose among {names}.")
        return list({**self.parameters, **asked}.values())


@dataclass(eq=False)
class Call:
    """One call of an endpoint."""

    address: str
    endpoint: Endpoint
    session: str = ""  # the reader's own name for it; Gradio takes the event's where there is none
    event: str = ""
    heard: asyncio.Event = field(default_factory=asyncio.Event)  # set once somebody listens


@dataclass(eq=False)
class _Session:
    calls: set[Call] = field(default_factory=set)
    heard: bool = False


class Guests:
    """The calls that are open. All of it happens in the server's one event loop."""

    def __init__(
        self, streams: int, room: int, cancel: Callable[[Call], Awaitable[None]], forget: Callable[[str], None]
    ):
        """streams: texts that an address may have open; room: calls that all may have open.

        cancel: ends a call's work; forget: drops what is kept for a session.
        """
        self._streams, self._room, self._cancel, self._forget = streams, room, cancel, forget
        self._asked: set[Call] = set()
        self._sessions: dict[str, _Session] = {}
        self._held: Counter[tuple[str, bool]] = Counter()
        self._tasks: set[asyncio.Task] = set()
        self.refused = self.ghosts = 0
        self.leaving = False

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def gone(self) -> bool:
        """Whether nobody asks and nobody listens."""
        return not self._asked and not self._sessions

    def problem(self) -> str:
        """Why a new call would be turned away, "" if it would not."""
        if self.leaving:
            return "The server is stopping"
        return "Every place is taken" if len(self) >= self._room else ""

    def ask(self, address: str, endpoint: Endpoint, session: str) -> Call:
        """Open a call. Raises Refusal where there is no place for it."""
        place = (address, endpoint.streams)
        most = self._streams if endpoint.streams else SHORT
        if problem := self.problem():
            self.refused += 1
            raise Refusal(503, f"{problem}: try again in {BUSY} seconds.", BUSY)
        if self._held[place] >= most:
            self.refused += 1
            kind = "texts" if endpoint.streams else "questions"
            raise Refusal(429, f"{most} {kind} of yours are open: wait for one to end, or {SOON} seconds.", SOON)
        if session in self._sessions and any(each.address != address for each in self._sessions[session].calls):
            raise Refusal(403, "This session is somebody else's: take another name for yours.")
        call = Call(address, endpoint, session)
        self._asked.add(call)
        self._held[place] += 1
        if session:
            self._sessions.setdefault(session, _Session()).calls.add(call)
        return call

    def accept(self, call: Call, event: str) -> None:
        """The queue took a call and gave it a name. Somebody should listen soon."""
        call.event, call.session = event, call.session or event
        session = self._sessions.setdefault(call.session, _Session())
        session.calls.add(call)
        if session.heard:
            call.heard.set()
        self._expect(call)

    def close(self, call: Call) -> None:
        """A call has come to its end; nothing happens if it is closed already."""
        if call not in self._asked:
            return
        self._asked.remove(call)
        place = (call.address, call.endpoint.streams)
        self._held[place] -= 1
        if not self._held[place]:
            del self._held[place]
        if session := self._sessions.get(call.session):
            session.calls.discard(call)
            self._tidy(call.session)

    def find(self, event: str) -> Call | None:
        """An open call by the queue's name for it."""
        return next((call for call in self._asked if call.event == event), None)

    def listen(self, name: str) -> None:
        """Somebody listens to a session. Raises Refusal if there is none of this name, or if another does already."""
        session = self._sessions.get(name)
        if session is None or not session.calls:
            raise Refusal(404, "There is nothing to hear here: ask first, then listen within five seconds.")
        if session.heard:
            raise Refusal(409, "Somebody listens to this already: ask again under another name.")
        session.heard = True
        for call in session.calls:
            call.heard.set()

    async def hang_up(self, name: str, to_the_end: bool) -> None:
        """Nobody listens to a session any more. What was asked since the last end may still find a listener."""
        session = self._sessions[name]
        session.heard = False
        for call in list(session.calls):
            if to_the_end:
                self._expect(call)
            else:
                await self._drop(call)
        self._tidy(name)

    def _expect(self, call: Call) -> None:
        asyncio.get_running_loop().call_later(SILENCE, self._look, call)

    def _look(self, call: Call) -> None:
        if call in self._asked and not self._sessions[call.session].heard:
            self.ghosts += 1
            task = asyncio.ensure_future(self._drop(call))
            self._tasks.add(task)  # else it might be collected before it has run
            task.add_done_callback(self._tasks.discard)

    async def _drop(self, call: Call) -> None:
        try:
            await self._cancel(call)
        finally:
            self.close(call)

    def _tidy(self, name: str) -> None:
        session = self._sessions.get(name)
        if session and not session.calls and not session.heard:
            del self._sessions[name]
            self._forget(name)


def address(host: str) -> str:
    """What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a household has."""
    try:
        ip = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    if ip.version == 4:
        return host
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False).network_address)
