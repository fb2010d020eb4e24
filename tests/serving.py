"""Fixtures that open the real page: app.py in a process of its own, and a Chromium that watches for mishaps."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = {"desktop": (1440, 900), "laptop": (1024, 768), "phone": (390, 844)}

expect.set_options(timeout=15_000)


@dataclass(frozen=True)
class Server:
    """A running page."""

    url: str  # ends with a slash
    port: int
    checkpoint: Path
    process: subprocess.Popen

    def running(self) -> int:
        """Streams that the engine works on now."""
        return httpx.get(f"{self.url}jungle/status", timeout=10).json()["running"]

    def wait_until_idle(self, seconds: float = 6.0) -> None:
        """Return once no stream runs; fail if that takes longer."""
        deadline = time.monotonic() + seconds
        while self.running():
            assert time.monotonic() < deadline, f"the engine still writes after {seconds} s"
            time.sleep(0.02)

    def end(self) -> None:
        """Ask it to stop, as a terminal would."""
        self.process.terminate()
        assert self.process.wait(timeout=20) == 0


def start(checkpoint: Path, port: int = 0, *options: str, **process_options: object) -> Server:
    """app.py on a port, a free one for 0, once it answers; options are app.py's own."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--checkpoint", str(checkpoint), "--port", str(port), *options]
    process = subprocess.Popen(command, cwd=ROOT, **process_options)
    server = Server(f"http://127.0.0.1:{port}/", port, checkpoint, process)
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.running()
            return server
        except (httpx.HTTPError, ValueError):  # a cluster answers before its page is there
            time.sleep(0.1)
    process.kill()
    raise AssertionError("the page did not come up")


@pytest.fixture(scope="session")
def server(tiny_checkpoint) -> Iterator[Server]:
    """One page for all tests that leave it as it was."""
    served = start(tiny_checkpoint)
    yield served
    served.end()


@pytest.fixture(scope="session")
def slow_server(slow_checkpoint) -> Iterator[Server]:
    """A page whose model takes seconds for a long text: for tests that act in the midst of it."""
    served = start(slow_checkpoint)
    yield served
    served.end()


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Server]:
    """start_server(checkpoint, port=0): a page of one's own, to be ended by whoever started it."""
    return start


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window. Not for the session: while it is open, no other test can run an event loop."""
    if not CHROMIUM:
        pytest.skip("no Chromium here: install one, or name it with CHROMIUM=...")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@dataclass
class Mishaps:
    """What a page must not do; the browser's own report of a refused request is no mishap."""

    messages: list[str] = field(default_factory=list)

    def watch(self, page: Page, home: str) -> None:
        """Note errors, and every request to another host than home."""
        page.on("pageerror", lambda error: self.messages.append(f"error: {error}"))
        page.on("console", lambda m: m.type == "error" and self.messages.append(f"console: {m.text}"))
        page.on("request", lambda r: r.url.startswith((home, "data:", "blob:")) or self.messages.append(r.url))


@pytest.fixture
def open_page(browser, server) -> Iterator:
    """open_page(size, path="", of=server, **context) opens a page; at the end nothing may have gone wrong on it."""
    mishaps, contexts = Mishaps(), []

    def open_one(size: str = "desktop", path: str = "", of: Server = server, **options) -> Page:
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        mishaps.watch(page, of.url)
        page.goto(of.url + path)
        expect(page.locator("#panel [data-part=panel]")).to_be_visible()
        page.wait_for_function("window.jungle?.settings")
        page.mishaps = mishaps.messages
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert mishaps.messages == []
