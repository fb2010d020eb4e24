"""The door over the network: who is let in, who is turned away and how, and what is let go. Small forms of the bars."""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # last: it has a serving.py of its own
import attacks
import bars

from lstm.web import wire
from lstm.web.guests import Endpoint, Guests, Refusal, address

pytest_plugins = ["serving"]
GOOD = ["The grey wolf", 0.8, 40, 20, 7, 1, 0, 1, "", [], -1, ""]
LONG = ["The grey wolf", 0.8, 40, 2000, 7, 1, 0, 1, "", [], -1, ""]
WRITE = Endpoint(3, "write", dict.fromkeys("abcdefghijkl"), streams=True)


def join(server, data: list = GOOD, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/call/write", json={"data": data}, headers=headers, timeout=30)


@contextlib.contextmanager
def listening(server, joined: httpx.Response):
    """A reader of a call who takes what comes, but looks at nothing after the first bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        path = f"/gradio_api/call/write/{joined.json()['event_id']}"
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        yield line


def hear_out(server, joined: httpx.Response) -> str:
    """All that a call answers."""
    return httpx.get(f"{server.url}gradio_api/call/write/{joined.json()['event_id']}", timeout=60).text


def open_calls(server) -> int:
    return httpx.get(f"{server.url}health", timeout=30).json()["calls"]["open"]


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def crowded(tiny_checkpoint) -> Iterator[bars.Page]:
    """A page that believes whom a request is said to be from."""
    page = bars.Page(tiny_checkpoint, *bars.BELIEVED)
    yield page
    page.stop()


@pytest.mark.parametrize(
    ("bar", "size"),
    [
        ("load", bars.Size(16, 0, 0, length=40)),
        ("determinism", bars.Size(32, 0, 40)),
        ("overload", bars.Size(0, 0, 150)),
        ("fairness", bars.Size(0, 0, 1, length=50)),
        ("disconnect", bars.Size(1, 0, 6)),
        ("ghosts", bars.Size(130, 0, 1)),
        ("fuzzing", bars.Size(1, 0, 200, length=40)),
        ("bodies", bars.Size(1, 0, 1)),
        ("shutdown", bars.Size(8, 0, 1)),
    ],
)
def test_what_a_bar_counts_is_within_its_bounds(bar, size, crowded, tiny_checkpoint):
    figures = asyncio.run(bars.BARS[bar](bars.replace(size, checkpoint=tiny_checkpoint), crowded))
    assert [figure for figure in figures if not figure.timed and not figure.ok] == []


def test_probes_find_nothing(server):
    count, got = asyncio.run(attacks.probe(server))
    assert got == []
    assert count > 200


def test_every_answer_carries_the_policy_and_the_page_names_its_own_scripts(server):
    for path in ("", "config", "health", "nowhere", "jungle/panel.js", "gradio_api/queue/data?session_hash=none"):
        headers = httpx.get(server.url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "https://huggingface.co https://*.hf.space" in headers["content-security-policy"]
        assert "script-src 'self' 'unsafe-eval'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"].split("style-src")[0]
        assert ("'sha256-" in headers["content-security-policy"]) == (path == "")


def test_only_the_page_itself_and_programs_may_ask(server):
    own = f"http://127.0.0.1:{server.port}"
    for headers, status in [
        ({"Origin": own}, 200), ({"Sec-Fetch-Site": "same-origin", "Origin": own}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Origin": "https://example.com"}, 403), ({"Origin": "null"}, 403),
    ]:  # fmt: skip
        joined = join(server, **headers)
        assert joined.status_code == status
        if status == 200:
            hear_out(server, joined)


def test_an_address_has_so_many_texts_and_no_more(slow_server):
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(listening(slow_server, join(slow_server, LONG)))
        refused = join(slow_server)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 0
        assert "3 texts" in refused.json()["detail"]
        assert join(slow_server, **{"X-Forwarded-For": "10.9.9.9"}).status_code == 429  # nobody's word is taken
        asked = {"data": [""]}
        told = httpx.post(f"{slow_server.url}gradio_api/call/model", json=asked)  # questions are counted by themselves
        assert told.status_code == 200
        httpx.get(f"{slow_server.url}gradio_api/call/model/{told.json()['event_id']}", timeout=60)
    until(lambda: not open_calls(slow_server))  # they hung up
    again = join(slow_server)
    assert again.status_code == 200
    hear_out(slow_server, again)


def test_a_stream_has_one_listener_who_asked_for_it(slow_server):
    joined = join(slow_server, LONG)
    path = f"{slow_server.url}gradio_api/call/write/"
    with listening(slow_server, joined):
        assert httpx.get(path + joined.json()["event_id"]).status_code == 409
        assert httpx.get(path + "nobody").status_code == 404
    until(lambda: not open_calls(slow_server))
    assert httpx.get(path + joined.json()["event_id"]).status_code == 404


def test_what_is_asked_for_is_not_logged(tiny_checkpoint, start_server, tmp_path):
    secret = "zebra-crossing"
    with (tmp_path / "log").open("wb") as log:
        own = start_server(tiny_checkpoint, 0, stdout=log, stderr=log)
        bad = [[secret * 2000, *GOOD[1:]], [secret, "hot", *GOOD[2:]], [secret, *GOOD[1:-1], secret], [secret], secret]
        for data in ([secret, *GOOD[1:]], *bad):
            joined = join(own, data)
            if joined.status_code == 200:
                hear_out(own, joined)
        with listening(own, join(own, [secret, *LONG[1:]])):
            pass
        httpx.post(f"{own.url}gradio_api/queue/join", content=secret.encode())
        httpx.get(f"{own.url}{secret}?{secret}")
        own.end()
    logged = (tmp_path / "log").read_text()
    assert logged.startswith("Jungle LSTM reads ")
    assert logged.count("\n") == 1


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_who_writes_for_ever_does_not_keep_the_page_from_leaving(slow_checkpoint, start_server, signals):
    own = start_server(slow_checkpoint, 0, "--grace", "0.5" if len(signals) == 1 else "600")
    with listening(own, join(own, LONG)):
        until(lambda: own.running() == 1)
        own.process.send_signal(signals[0])
        until(lambda: httpx.get(f"{own.url}health").status_code == 503)
        late = join(own)
        assert late.status_code == 503
        assert int(late.headers["retry-after"]) > 0
        for each in signals[1:]:
            own.process.send_signal(each)
        assert own.process.wait(60) == 0


async def nothing(*_: object) -> None:
    """What a call's work comes to here."""


def test_places_are_counted_for_each_and_for_all():
    forgotten = []
    guests = Guests(streams=2, room=3, cancel=nothing, forget=forgotten.append)

    async def work():
        first = guests.ask("a", WRITE, "s")
        guests.ask("a", WRITE, "s")
        with pytest.raises(Refusal, match="2 texts of yours"):
            guests.ask("a", WRITE, "t")
        with pytest.raises(Refusal, match="somebody else's"):
            guests.ask("b", WRITE, "s")
        guests.ask("b", WRITE, "u")
        with pytest.raises(Refusal, match="Every place is taken") as full:
            guests.ask("c", WRITE, "v")
        assert (full.value.status, full.value.again) == (503, 30)
        guests.accept(first, "event")
        guests.listen("s")
        with pytest.raises(Refusal, match="already"):
            guests.listen("s")
        assert first.heard.is_set()
        await guests.hang_up("s", to_the_end=False)
        assert forgotten == ["s"]
        assert len(guests) == 1
        guests.ask("a", WRITE, "s")

    asyncio.run(work())


def test_a_reader_who_takes_nothing_is_taken_for_gone(monkeypatch):
    monkeypatch.setattr(wire, "STUCK", 0.02)

    async def work():
        never = asyncio.Event()
        line = wire.Line(never.wait, lambda _: never.wait(), ended=lambda _: None)
        reading = asyncio.ensure_future(line.receive())
        await line.send({"type": "http.response.body", "body": b"data: {}", "more_body": False})
        assert await reading == {"type": "http.disconnect"}
        assert not line.whole

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(wire, "SLOWEST", 0.02)

    async def work():
        with pytest.raises(Refusal, match="send it faster"):
            await wire.read_body({b"content-length": b"5"}, asyncio.Event().wait)

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_household_is_one_client():
    assert address("2001:db8:1:2:3:4:5:6") == address("2001:db8:1:2::9") != address("2001:db8:1:3::9")
    assert address("::ffff:10.0.0.1") == address("10.0.0.1") != address("10.0.0.2")
    assert address("fe80::1%eth0") == address("fe80::2")
    assert address("") == ""


def test_the_panel_says_why_it_was_refused(open_page, slow_server):
    page = open_page(of=slow_server)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(listening(slow_server, join(slow_server, LONG)))
        page.locator("#generate").click()
        page.wait_for_function("document.body.dataset.panel === 'refused'")
        assert "3 texts of yours are open" in page.locator("[data-part=notice]").inner_text()
    page.mishaps[:] = [each for each in page.mishaps if "429" not in each]  # the browser's own report
    until(lambda: not open_calls(slow_server))
