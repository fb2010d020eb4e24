"""The endpoint as any program may call it, over the network."""

import json

import httpx
import pytest
from conftest import run

pytest_plugins = ["serving"]
GOOD = ["The grey wolf", 0.8, 40, 20, 7, 1, 0, 1, "", [], -1, ""]


def test_a_taken_port_is_said_in_one_sentence(server):
    done = run("app.py", "--checkpoint", server.checkpoint, "--port", str(server.port))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(server.port) in done.stderr


def call(server, data: list) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/call/write", json={"data": data}, timeout=30)


def test_any_program_may_call_the_endpoint(server):
    joined = call(server, GOOD)
    assert joined.status_code == 200
    answer = httpx.get(f"{server.url}gradio_api/call/write/{joined.json()['event_id']}", timeout=60).text
    messages = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: [")]
    *growing, whole, again = [json.loads(message[0]) for message in messages]
    assert whole == again
    assert "".join(token[1] for frame in growing for token in frame["tokens"]) == whole["text"]
    assert whole["count"] == 20


@pytest.mark.parametrize("data", [[None, *GOOD[1:]], ["a", "b", *GOOD[2:]], [*GOOD[:3], 10**9, *GOOD[4:]], []])
def test_bad_calls_are_refused_before_the_queue(server, data):
    assert call(server, data).status_code in (400, 422)


def test_the_queue_cannot_be_walked_around(server):
    config = httpx.get(f"{server.url}config").json()
    index = next(d["id"] for d in config["dependencies"] if d["api_name"] == "write")
    for path in ("run/write", "api/write", "run/predict", f"run/{index}"):
        body = {"data": GOOD, "fn_index": index, "session_hash": "x"}
        assert httpx.post(f"{server.url}gradio_api/{path}", json=body).status_code in (401, 404, 405)
    assert httpx.get(f"{server.url}monitoring/summary").status_code in (403, 404)
