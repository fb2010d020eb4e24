"""The door: every request is judged here before Gradio sees it, and every answer leaves with the page's policy.

What the page does not need is closed, so what Gradio opens beside it is not open to anybody.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lstm.web.guests import BUSY, Call, Endpoint, Guests, Refusal, address
from lstm.web.wire import Line, Response, answer, answer_and_close, attend, fetch, in_json, read_body, with_body

AT_ONCE = 1  # calls that Gradio takes in: each costs it 10 ms in one piece, and others must be answered meanwhile

PAGE = re.compile(
    r"/(|config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|(assets|static|jungle)/[\w./-]+"
    r"|gradio_api/(info/?|startup-events))"
)
JOIN = re.compile(r"/gradio_api/(?:queue/join|call/(v2/)?(\w{1,64}))/?")
LISTEN = re.compile(r"/gradio_api/(?:queue/data|call/\w{1,64}/(\w{1,64}))")
CANCEL = "/gradio_api/cancel"
ASSIST = "/mcp"
NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)

HOMES = "'self' https://huggingface.co https://*.hf.space"  # who may show the page in a frame
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; media-src 'none'; worker-src 'none'; "
    f"frame-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {HOMES}"
)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
]


class Door:
    """Stands before a whole Gradio application, as ASGI."""

    def __init__(
        self, app: ASGIApp, endpoints: list[Endpoint], streams: int, room: int, forget: Callable[[str], None],
        health: Callable[[], dict], assistants: ASGIApp | None = None,
    ):  # fmt: skip
        """streams: texts that an address may have open; room: calls that all may have open.

        forget: drops what Gradio keeps for a session; health: the engines' figures; assistants: what answers them.
        """
        self._app, self._health, self._assistants = app, health, assistants
        self._numbered = {endpoint.number: endpoint for endpoint in endpoints}
        self._named = {endpoint.name: endpoint for endpoint in endpoints}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self.guests = Guests(streams, room, self._stop, forget)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request, and pass it on or answer it. Web sockets are nobody's here."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        send = _with_policy(send)
        try:
            await self._enter(scope, receive, send)
        except Refusal as refusal:
            headers = [(b"retry-after", b"%d" % refusal.again)] if refusal.again else []
            response = in_json(refusal.status, {"detail": str(refusal)}, headers)
            if refusal.status in (408, 413):
                await answer_and_close(receive, send, response)
            else:
                await answer(send, response)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        body = await read_body(headers, receive)
        if (method := _method(path, assisted=self._assistants is not None)) is None:
            raise Refusal(404, "There is nothing here.")
        if scope["method"] not in (method, "HEAD" if method == "GET" else method):
            raise Refusal(405, f"This takes {method} only.")
        if path.startswith("/gradio_api/") or path == ASSIST:
            _judge_origin(headers)
        query = scope["query_string"]
        # Gradio's own rules for other sites are looser, so it does not hear of them; and nobody needs its queries.
        heard = [pair for pair in scope["headers"] if pair[0] != b"origin"]
        scope = {**scope, "headers": heard, "query_string": b""}
        if path == "/health":
            await answer(send, self._tell())
        elif path == ASSIST:
            asked = with_body(scope, body, state={"guests": self.guests})  # who counts what is asked for
            await answer(send, await attend(self._assistants, asked, body, receive))
        elif method == "POST":
            client = address((scope.get("client") or ("",))[0])
            await answer(send, await self._take(scope, _parsed(headers, body), client))
        elif found := LISTEN.fullmatch(path):
            await self._listen({**scope, "query_string": query}, receive, send, found[1])
        elif path == "/":
            await answer(send, _with_scripts(await fetch(self._app, scope, b"")))
        else:
            await self._app(scope, receive, send)

    def _tell(self) -> Response:
        problem = self.guests.problem()
        calls = {"open": len(self.guests), "refused": self.guests.refused, "ghosts": self.guests.ghosts}
        about = {"ready": not problem, **({"why": problem} if problem else {}), "calls": calls, **self._health()}
        return in_json(503 if problem else 200, about)

    async def _take(self, scope: Scope, asked: dict, client: str) -> Response:
        """A call, or the end of one."""
        session = asked.get("session_hash")
        if session is not None and not (isinstance(session, str) and NAME.fullmatch(session)):
            raise Refusal(422, "session_hash must be a name of up to 64 letters and digits.")
        if scope["path"] == CANCEL:
            return await self._end(asked, session)
        by_name, name = JOIN.fullmatch(scope["path"]).groups()
        if not name and session is None:
            raise Refusal(422, "session_hash is missing: give this call a name.")
        endpoint = self._endpoint(name, asked.get("fn_index"))
        data = endpoint.values(asked) if by_name else asked.get("data")
        if not isinstance(data, list) or len(data) != len(endpoint.parameters):
            wanted = f"{len(endpoint.parameters)} values, as {endpoint.name} takes them"
            raise Refusal(422, f"data must be a list of {wanted}.")
        if name:
            scope = {**scope, "path": f"/gradio_api/call/{name}", "raw_path": f"/gradio_api/call/{name}".encode()}
        call = self.guests.ask(client, endpoint, "" if name else session)
        values = {"data": data, "fn_index": endpoint.number, "simple_format": asked.get("simple_format") is True}
        body = json.dumps({"data": data} if name else {**values, "session_hash": session}).encode()
        try:
            async with self._turn:
                response = await fetch(self._app, with_body(scope, body, state={"call": call}), body)
            if response.status == 200:
                self.guests.accept(call, json.loads(response.body)["event_id"])
            elif response.status == 503:
                response.headers.append((b"retry-after", b"%d" % BUSY))
        finally:
            if not call.event:
                self.guests.close(call)
        return response

    def _endpoint(self, name: str | None, number: Any) -> Endpoint:
        endpoint = self._named.get(name) if name else self._numbered.get(number) if type(number) is int else None
        if endpoint is None:
            raise Refusal(404, f"There is no such endpoint: choose one of {', '.join(sorted(self._named))}.")
        return endpoint

    async def _end(self, asked: dict, session: str | None) -> Response:
        """A reader asks for the end of a call of his: Gradio takes his word, and tells whoever listens."""
        call = self.guests.find(asked.get("event_id"))
        if call is None or call.session != session:
            return in_json(200, {"success": True})  # it has ended already
        await self._stop(call)
        self.guests.close(call)
        return in_json(200, {"success": True})

    async def _stop(self, call: Call) -> None:
        """End the work for a call, whether it waits, reads its prompt or writes."""
        asked = {"session_hash": call.session, "fn_index": call.endpoint.number, "event_id": call.event}
        body = json.dumps(asked).encode()
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
            "method": "POST", "path": CANCEL, "raw_path": CANCEL.encode(), "root_path": "", "query_string": b"",
            "headers": headers, "client": None, "server": None,
        }  # fmt: skip
        await fetch(self._app, with_body(scope, body), body)

    async def _listen(self, scope: Scope, receive: Receive, send: Send, event: str | None) -> None:
        """A stream of the events of one call, or of all calls of a session."""
        session = event or parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        self.guests.listen(session)
        line = Line(receive, send, self._ended)
        try:
            await self._app(scope, line.receive, line.send)
            if event and line.whole:
                self._ended(event)
        finally:
            await self.guests.hang_up(session, line.whole)

    def _ended(self, event: str) -> None:
        if call := self.guests.find(event):
            self.guests.close(call)


def _method(path: str, assisted: bool) -> str | None:
    """What may be done with a path, None for one that does not exist; assisted: whether assistants may ask."""
    if path == CANCEL or JOIN.fullmatch(path) or (assisted and path == ASSIST):
        return "POST"
    return "GET" if path == "/health" or (PAGE.fullmatch(path) and ".." not in path) or LISTEN.fullmatch(path) else None


def _judge_origin(headers: dict[bytes, bytes]) -> None:
    """Only the page itself and programs may ask. Browsers say who asks, and no page can make them lie about it."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        own = site in (b"same-origin", b"none")
    else:
        own = origin is None or origin.split(b"://")[-1] == headers.get(b"host")
    if not own:
        raise Refusal(403, "This page answers itself and programs, not other pages: open it in a tab of its own.")


def _parsed(headers: dict[bytes, bytes], body: bytes) -> dict:
    """A body's JSON. A form of another page cannot send this kind."""
    if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
        raise Refusal(415, "Send JSON, with the header Content-Type: application/json.")
    try:
        asked = json.loads(body, parse_constant=_not_finite)
    except (ValueError, RecursionError):  # also UnicodeDecodeError, and numbers of thousands of digits
        raise Refusal(400, "This is no JSON: send an object with a list named data.") from None
    if not isinstance(asked, dict):
        raise Refusal(422, "Send an object with a list named data.")
    return asked


def _not_finite(name: str) -> None:
    raise ValueError(name)


def _with_scripts(response: Response) -> Response:
    """The page, whose own scripts are allowed by their hashes: any other that gets into it does not run."""
    digests = (hashlib.sha256(script).digest() for script in SCRIPT.findall(response.body))
    scripts = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    policy = (b"content-security-policy", POLICY.format(scripts=scripts).encode())
    return response._replace(headers=[*response.headers, policy])


def _with_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = list(message.get("headers", []))
            if all(name != b"content-security-policy" for name, _ in sent):
                sent.append((b"content-security-policy", POLICY.format(scripts="").encode()))
            message = {**message, "headers": [*sent, *HEADERS]}
        await send(message)

    return send_with_policy
