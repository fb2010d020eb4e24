"""What a language-model assistant may ask of the page: a client of the protocol's own package, over loopback."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, run

pytest.importorskip("mcp", reason="pip install -r requirements-mcp.txt")
from mcp import Client

pytest_plugins = ["serving"]
PROMPT = "The old bear"
SHORT = {"prompt": PROMPT, "length": 20, "seed": 9}
LONG = {"prompt": PROMPT, "length": 2000, "seed": 9}
ERAS = ["legacy", "auto"]  # with a handshake first, as until 2026, and without


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """What the page of these tests prints."""
    return tmp_path_factory.mktemp("log") / "log"


@pytest.fixture(scope="module")
def assisted(slow_checkpoint, start_server, log) -> Iterator:
    """A page that assistants may ask. An address may have one text open; a long one takes seconds."""
    with log.open("wb") as file:
        options = ["--mcp", "--streams", "1", "--grace", "100"]
        served = start_server(slow_checkpoint, 0, *options, stdout=file, stderr=file)
        yield served
        served.process.kill()


def at(server) -> str:
    return f"{server.url}mcp"


def ask(server, name: str, mode: str = "auto", **values: object):
    """What a tool answers."""

    async def work():
        async with Client(at(server), mode=mode) as client:
            return await client.call_tool(name, values)

    return asyncio.run(work())


def sentence(result) -> str:
    """Of a refusal."""
    assert result.is_error
    (said,) = result.content
    assert "\n" not in said.text
    return said.text


def post(server, method: str = "tools/call", headers: dict | None = None, **params: object) -> httpx.Response:
    """A request as an assistant's program sends it."""
    accepted = {"Accept": "application/json, text/event-stream", **(headers or {})}
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(at(server), json=asked, headers=accepted, timeout=60)


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def writing(server) -> Iterator[socket.socket]:
    """An assistant that waits for a long text."""
    body = httpx.Request("POST", at(server), json={
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate", "arguments": LONG},
    })  # fmt: skip
    head = {**body.headers, "accept": "application/json, text/event-stream"}
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        told = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        line.sendall(f"POST /mcp HTTP/1.1\r\n{told}\r\n".encode() + body.content)
        until(lambda: server.running() == 1)
        yield line


@pytest.mark.parametrize("mode", ERAS)
def test_the_tools_tell_their_types_meanings_and_defaults(assisted, mode):
    async def work():
        async with Client(at(assisted), mode=mode) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(work())}
    assert list(tools) == ["generate", "score", "next"]
    fields = tools["generate"].input_schema["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "prompt": "string", "temperature": "number", "top_k": "integer", "length": "integer", "seed": "integer",
        "top_p": "number", "min_p": "number", "repetition_penalty": "number", "stop": "string", "model": "string",
    }  # fmt: skip
    for tool in tools.values():
        assert tool.description.endswith(".")
        assert all(field["description"] and "default" in field for field in tool.input_schema["properties"].values())


@pytest.mark.parametrize("mode", ERAS)
def test_a_text_is_the_command_line_s(assisted, mode):
    words = ["--prompt", PROMPT, "--length", "20", "--seed", "9"]
    written = run("-m", "lstm", "generate", assisted.checkpoint, *words).stdout[:-1]
    result = ask(assisted, "generate", mode, **SHORT)
    assert PROMPT + result.content[0].text == written


@pytest.mark.parametrize("mode", ERAS)
def test_a_score_and_what_comes_next_are_figures(assisted, mode):
    score = ask(assisted, "score", mode, text=" slept all day.", context=PROMPT).structured_content
    assert "".join(token["text"] for token in score["tokens"]) == " slept all day."
    bits = sum(token["bits"] for token in score["tokens"])
    assert score["bits_per_byte"] * score["bytes"] == pytest.approx(bits, rel=1e-2)
    following = ask(assisted, "next", mode, prompt=PROMPT, count=3).structured_content["tokens"]
    greedy = ask(assisted, "generate", mode, prompt=PROMPT, temperature=0, length=1)
    assert (len(following), following[0]["text"]) == (3, greedy.content[0].text)


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize(
    ("tool", "values", "words"),
    [
        ("generate", {"length": 10**9}, "Length must be a whole number from 1 to 2,000"),
        ("generate", {"temperature": "hot"}, "Temperature must be a number"),
        ("generate", {"propmt": "a"}, "propmt is no parameter of generate: choose among prompt"),
        ("generate", {"model": "other"}, "no checkpoint 'other'"), ("score", {}, "the text is empty"),
        ("next", {"count": 1.5}, "Count must be a whole number"), ("write", {}, "choose one of generate, score, next"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_in_one_sentence(assisted, tool, values, words, mode):
    assert words in sentence(ask(assisted, tool, mode, **values))


@pytest.mark.parametrize("mode", ERAS)
def test_an_address_has_so_many_texts_and_who_hangs_up_frees_his(assisted, mode):
    def calls() -> int:
        return httpx.get(f"{assisted.url}health", timeout=30).json()["calls"]["open"]

    async def work():
        async with Client(at(assisted), mode=mode) as client:
            long = asyncio.ensure_future(client.call_tool("generate", LONG))
            await asyncio.to_thread(until, lambda: assisted.running() == 1)
            refused = await client.call_tool("generate", SHORT)
            question = await client.call_tool("next", {"prompt": PROMPT})  # these are counted by themselves
            assert (long.done(), calls()) == (False, 1)
            long.cancel()
            return refused, question

    refused, question = asyncio.run(work())
    assert "1 texts of yours are open" in sentence(refused)
    assert not question.is_error
    until(lambda: not calls())
    assisted.wait_until_idle()
    assert not ask(assisted, "generate", mode, **SHORT).is_error


def test_the_door_stands_before_it(assisted):
    assert httpx.get(at(assisted)).status_code == 405
    assert post(assisted, headers={"Origin": "https://example.com"}, name="next").status_code == 403
    assert post(assisted, name="next", arguments={"prompt": "x" * 2**16}).status_code == 413
    answer = post(assisted, name="next", arguments={"prompt": PROMPT})
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" in answer.headers
    for content in (b"", b"[]", b"{", b"\xff", b"[" * 30_000):
        broken = httpx.post(at(assisted), content=content, headers={"Content-Type": "application/json"}, timeout=30)
        assert 400 <= broken.status_code < 500


def test_who_waits_for_a_text_has_it_before_the_page_leaves(assisted, log):
    with writing(assisted) as line:
        assisted.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{assisted.url}health").status_code == 503)
        assert "The server is stopping" in sentence(ask(assisted, "next", prompt=PROMPT))
        answer = b""
        while received := line.recv(2**16):
            answer += received
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"isError":false' in answer
    assert assisted.process.wait(10) == 0
    assert log.read_text().count("\n") == 1


def test_who_waits_for_ever_does_not_keep_the_page_from_leaving(slow_checkpoint, start_server):
    own = start_server(slow_checkpoint, 0, "--mcp", "--grace", "0.5")
    with writing(own):
        own.end()


def test_it_is_shut_unless_it_is_asked_for(server):
    for method in ("GET", "POST", "DELETE"):
        assert httpx.request(method, at(server)).status_code == 404


def test_without_the_package_the_remedy_is_named(tiny_checkpoint, tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError(\"No module named 'mcp'\", name='mcp')\n")
    done = run("app.py", "--checkpoint", tiny_checkpoint, "--mcp", env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (2, "--mcp needs the package mcp: pip install -r requirements-mcp.txt\n")
    assert "mcp==" in (ROOT / "requirements-mcp.txt").read_text()
