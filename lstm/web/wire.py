"""What the door needs of HTTP: bodies with a limit, answers in JSON, questions of its own, streams that it watches."""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lstm.web.guests import Refusal

LARGEST = 64 * 1024  # bytes of a request's body
SLOWEST = 10.0  # seconds that a body may take to come
LINGER = 2.0  # seconds in which a request that is too large may see that it was refused
STUCK = 30.0  # seconds that a message waits for a reader who does not read
ENDED = re.compile(rb'data: \{"msg":"process_completed","event_id":"(\w+)"')


class Response(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The body of a request. Raises Refusal for one that is too large, before it is read, or too slow."""
    if int(headers.get(b"content-length", b"0")) > LARGEST:
        raise Refusal(413, f"This is more than {LARGEST // 1024} KB: send less.")
    if b"content-length" not in headers and b"transfer-encoding" not in headers:
        return b""
    body, more = b"", True
    try:
        async with asyncio.timeout(SLOWEST):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "The request broke off: send it whole.")
                body, more = body + message.get("body", b""), message.get("more_body", False)
                if len(body) > LARGEST:
                    raise Refusal(413, f"This is more than {LARGEST // 1024} KB: send less.")
    except TimeoutError:
        raise Refusal(408, f"The request took more than {SLOWEST:.0f} s to come: send it faster.") from None
    return body


async def answer(send: Send, response: Response) -> None:
    """Send a whole answer."""
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})


async def answer_and_close(receive: Receive, send: Send, response: Response) -> None:
    """Send an answer in the midst of a request's body, and hang up.

    What comes meanwhile is dropped: who is hung up on while he still sends may never see the answer.
    """
    closing = [*response.headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status, "headers": closing})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body", "body": b""})


def in_json(status: int, content: object, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """An answer in JSON that nobody keeps."""
    body = json.dumps(content, separators=(",", ":")).encode()
    plain = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return Response(status, [*plain, (b"cache-control", b"no-store"), *headers], body)


async def fetch(app: ASGIApp, scope: Scope, body: bytes) -> Response:
    """What an application answers to a request with this body. It hears of no disconnection."""
    status, headers, parts, asked = 0, [], [], False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # until the application is done
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return Response(status, headers, b"".join(parts))


async def attend(app: ASGIApp, scope: Scope, body: bytes, receive: Receive) -> Response:
    """The same, for as long as somebody waits for it. Raises Refusal once he has hung up, and ends the work."""

    async def hang_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    work, gone = asyncio.ensure_future(fetch(app, scope, body)), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refusal(400, "The request broke off: stay until it is answered.")
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


def with_body(scope: Scope, body: bytes, **values: object) -> Scope:
    """A request's scope for another body."""
    kept = [pair for pair in scope["headers"] if pair[0] not in (b"content-length", b"transfer-encoding")]
    return {**scope, **values, "headers": [*kept, (b"content-length", b"%d" % len(body))]}


class Line:
    """A stream of events on its way to a reader: who does not read for long is taken for gone."""

    def __init__(self, receive: Receive, send: Send, ended: Callable[[str], None]):
        """ended: told the name of each call whose last message went by."""
        self._receive, self._send, self._ended = receive, send, ended
        self._stuck = asyncio.Event()
        self.whole = False  # whether the stream came to its own end

    async def receive(self) -> Message:
        """What the reader says, in time: that he is gone."""
        waiting = [asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._stuck.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return {"type": "http.disconnect"} if self._stuck.is_set() else waiting[0].result()
        finally:
            for each in waiting:
                each.cancel()

    async def send(self, message: Message) -> None:
        """Pass a message on, unless the reader is stuck."""
        if self._stuck.is_set():
            return
        try:
            async with asyncio.timeout(STUCK):
                await self._send(message)
        except TimeoutError:
            self._stuck.set()
        if message["type"] == "http.response.body" and not self._stuck.is_set():
            if found := ENDED.match(message.get("body", b"")):
                self._ended(found[1].decode())
            self.whole = not message.get("more_body", False)
