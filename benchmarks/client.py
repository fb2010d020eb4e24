"""The page as raw clients see it: app.py in a process of its own, HTTP and event streams over plain sockets.

Programs that poll would hide what is measured here, so nothing of Gradio's own client is used.
"""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from machine import ROOT

TICKS = os.sysconf("SC_CLK_TCK")


class Page:
    """A running app.py, or a program that takes the same options."""

    def __init__(self, checkpoint: str | Path, *options: str, program: str = "app.py"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        began = time.perf_counter()
        command = [sys.executable, program, "--checkpoint", str(checkpoint), "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while True:
            try:
                urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).read()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("app.py did not start") from None
                time.sleep(0.02)
        self.start_seconds = time.perf_counter() - began
        self.config = json.load(urlopen(f"http://127.0.0.1:{self.port}/config"))

    def cpu_seconds(self) -> float:
        """Processor time that the server has used, on all cores."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self, name: str = "VmRSS") -> float:
        """Resident memory now (VmRSS) or at its most (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return round(int(status.split(f"{name}:")[1].split()[0]) / 1024, 1)

    def request(self, session: str, **values: object) -> dict:
        """What the browser would send to write, with each control's own value where none is given by its label."""
        endpoint = next(each for each in self.config["dependencies"] if each["api_name"] == "write")
        controls = {component["id"]: component["props"] for component in self.config["components"]}
        data = [values.get(controls[n].get("label", "").lower(), controls[n].get("value")) for n in endpoint["inputs"]]
        data = ["" if value is None else value for value in data]
        return {"data": data, "fn_index": endpoint["id"], "session_hash": session, "simple_format": True}

    def stop(self) -> int:
        """Ask it to leave, and wait until it has. Returns its status."""
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Answer:
    """A whole answer; status 0 where the connection broke before there was one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0


async def fetch(
    page: Page, path: str, body: object = None, method: str = "", headers: dict[str, str] | None = None,
    chunked: bool = False,
) -> Answer:  # fmt: skip
    """One request on a connection of its own. A body that is no bytes is sent as JSON."""
    began = time.perf_counter()
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    head = {"Host": f"127.0.0.1:{page.port}", "Connection": "close"}
    if raw is not None:
        size = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(raw))}
        head |= {"Content-Type": "application/json", **size}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (head | (headers or {})).items())
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port, limit=2**24)
    answer = Answer()
    try:
        writer.write(f"{method or ('GET' if raw is None else 'POST')} {path} HTTP/1.1\r\n{lines}\r\n".encode())
        sending = asyncio.ensure_future(_send(writer, raw or b"", chunked))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            answer.status = int((await reader.readline()).split()[1])
            while line := (await reader.readline()).strip().decode("latin-1"):
                answer.headers[line.split(":")[0].lower()] = line.split(":", 1)[1].strip()
            length = answer.headers.get("content-length")
            answer.body = await (reader.read() if length is None else reader.readexactly(int(length)))
        sending.cancel()
    except IndexError:  # an empty line: the connection was closed before an answer
        pass
    finally:
        writer.close()
    answer.seconds = time.perf_counter() - began
    return answer


async def _send(writer: asyncio.StreamWriter, raw: bytes, chunked: bool) -> None:
    with contextlib.suppress(ConnectionError):
        for at in range(0, len(raw), 65_536):
            part = raw[at : at + 65_536]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")


def of(address: str) -> dict[str, str]:
    """The header that makes a request another client's, where the page believes its proxy."""
    return {"X-Forwarded-For": address} if address else {}


async def join(page: Page, session: str, address: str = "", **values: object) -> Answer:
    """Ask for a text; the values are the controls' own where none is given."""
    return await fetch(page, "/gradio_api/queue/join", page.request(session, **values), headers=of(address))


class Message(NamedTuple):
    """One event of a stream. It is read only where somebody wants to know more than its kind."""

    kind: str
    raw: bytes


@contextlib.asynccontextmanager
async def listening(page: Page, session: str, address: str = "") -> AsyncIterator[AsyncIterator[Message]]:
    """The messages of a session. The connection is closed when the block is left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port, limit=2**24)
    lines = "".join(f"{name}: {value}\r\n" for name, value in of(address).items())
    path = f"/gradio_api/queue/data?session_hash={session}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n{lines}\r\n".encode())

    async def messages() -> AsyncIterator[Message]:
        async for line in reader:
            if line.startswith(b"data:"):
                yield Message(line[14 : line.index(b'"', 14)].decode(), line[5:])

    try:
        yield messages()
    finally:
        writer.close()


@dataclass
class Written:
    """What a reader got of a text."""

    status: int
    first: float = 0.0  # seconds until the first frame
    times: list[float] = field(default_factory=list)  # of each frame, time.perf_counter
    tokens: list[list] = field(default_factory=list)
    text: str = ""
    ended: str = ""  # why; "" for a text that was lost
    contiguous: bool = True  # whether each frame began where the one before it ended


async def write(page: Page, address: str = "", session: str = "", **values: object) -> Written:
    """One reader, from the question to the end of the text."""
    session = session or secrets.token_hex(6)
    began = time.perf_counter()
    joined = await join(page, session, address, **values)
    written = Written(joined.status)
    if joined.status != 200:
        return written
    async with listening(page, session, address) as messages:
        async for message in messages:
            if message.kind == "process_generating":
                written.times.append(time.perf_counter())
                take(written, json.loads(json.loads(message.raw)["output"]["data"][0]))
            if message.kind in ("process_completed", "unexpected_error"):
                break
    written.first = written.times[0] - began if written.times else 0.0
    return written


def take(written: Written, frame: dict) -> None:
    """Add a frame to what was got."""
    if "tokens" in frame:
        written.contiguous &= frame["from"] == len(written.tokens)
        written.tokens += frame["tokens"]
    elif "ended" in frame:
        written.text, written.ended = frame["text"], frame["ended"]


async def health(page: Page) -> tuple[dict, float]:
    """The page's own figures, and the seconds that they took to come."""
    answer = await fetch(page, "/health")
    return json.loads(answer.body), answer.seconds


async def idle(page: Page, seconds: float = 60.0) -> float:
    """Seconds until no call is open and no text is written. Raises TimeoutError."""
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while True:
            figures, _ = await health(page)
            if not figures["calls"]["open"] and not any(each["running"] for each in figures["engines"].values()):
                return time.perf_counter() - began
            await asyncio.sleep(0.005)
