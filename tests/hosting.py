"""Fixtures that open the page without a server: the tiny model's folder, published once, behind a plain file server."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import run
from serving import SIZES, Mishaps

npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not here: install Node.js to publish without a server")


class Files(SimpleHTTPRequestHandler):
    """Plain files, without a word."""

    def log_message(self, *_) -> None:
        pass


class Host:
    """A plain file server on loopback."""

    def __init__(self, folder):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def site(tmp_path_factory, tiny_checkpoint):
    """The folder that the command writes for the tiny model."""
    folder = tmp_path_factory.mktemp("static") / "site"
    done = run("-m", "lstm", "publish", "static", folder, "--checkpoint", tiny_checkpoint)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def host(site):
    host = Host(site)
    yield host
    host.stop()


@pytest.fixture
def open_site(browser, host):
    """open_site(size="desktop", path="", of=host) opens the page; at the end nothing may have gone wrong on it."""
    mishaps, contexts = Mishaps(), []

    def open_one(size: str = "desktop", path: str = "", of: Host = host):
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True))
        page = contexts[-1].new_page()
        mishaps.watch(page, of.url)
        page.goto(of.url + path)
        page.wait_for_function("window.jungle?.settings")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert mishaps.messages == []


def press(page, selector: str) -> list[int]:
    """Press something that writes, and give the ids of the whole text when it is done."""
    page.evaluate("window.previous = jungle.run")
    page.locator(selector).click()
    page.wait_for_function("jungle.run !== window.previous && !jungle.stream")
    return page.evaluate("jungle.story.tokens.map((token) => token.id)")
