"""What programs may ask of the page, as the README shows it: each example is run as it stands there."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest
from conftest import ROOT, run
from gradio_client import Client

pytest_plugins = ["serving"]
HERE = "http://127.0.0.1:7860"
PATIENCE = 100  # seconds: gradio_client gives a busy machine 5, and never ends a text that it then lost
EXAMPLE = ["--prompt", "Mowgli crept", "--temperature", "0.8", "--length", "40", "--seed", "7"]


@pytest.fixture(scope="module")
def page(server) -> Client:
    return Client(server.url, verbose=False, httpx_kwargs={"timeout": PATIENCE}, analytics_enabled=False)


@pytest.fixture(scope="module")
def written(server) -> str:
    """What the examples make the tests' model write."""
    return run("-m", "lstm", "generate", server.checkpoint, *EXAMPLE).stdout[:-1].removeprefix("Mowgli crept")


def example(server, language: str) -> str:
    """The README's example in a language, for the page of the tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if HERE in block]
    return found.replace(HERE, server.url.rstrip("/"))


def test_the_python_example(server, written):
    code = example(server, "python").replace("print(text)", "print([text])")
    code = code.replace(
        f'Client("{server.url[:-1]}"', f'Client("{server.url[:-1]}", httpx_kwargs={{"timeout": {PATIENCE}}}'
    )
    quiet = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=quiet, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    *texts, score, following = [ast.literal_eval(line) for line in done.stdout.splitlines() if line[0] in "[{"]
    assert texts[-1] == [written]
    assert score["bytes"] == len("Mowgli crept through the grass.")
    assert len(following["tokens"]) == 5


def test_the_shell_example(server, written):
    done = subprocess.run(["sh", "-c", example(server, "sh")], capture_output=True, text=True, timeout=200)
    lines = done.stdout.splitlines()
    assert "event: complete" in lines, done.stderr
    assert [json.loads(line[6:]) for line in lines if line.startswith("data: ")][-1] == [written]


def test_the_javascript_example(server, written, tmp_path):
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", "@gradio/client@2.7.0"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, timeout=120).returncode:
        pytest.skip("no npm registry can be reached from here")
    code = example(server, "js").replace("console.log(data[0])", "console.log(JSON.stringify(data[0]))")
    (tmp_path / "example.mjs").write_text(code, encoding="utf-8")
    done = subprocess.run(["node", "example.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == written


def test_the_api_page_tells_types_and_defaults(page):
    told = page.view_api(return_format="dict")["named_endpoints"]
    assert told.keys() == {"/generate", "/score", "/next"}
    kinds = {p["parameter_name"]: p["python_type"]["type"] for p in told["/generate"]["parameters"]}
    assert kinds == {
        "prompt": "str", "temperature": "float", "top_k": "int", "length": "int", "seed": "int", "top_p": "float",
        "min_p": "float", "repetition_penalty": "float", "stop": "str", "model": "str",
    }  # fmt: skip
    for endpoint in told.values():
        assert endpoint["description"].endswith(".")
        assert all(p["label"] and p["parameter_has_default"] for p in endpoint["parameters"])


def test_a_text_grows_and_equals_the_command_line(page, server):
    words = ["--prompt", "The old bear", "--length", "300", "--seed", "9", "--stop", "moon"]
    here = run("-m", "lstm", "generate", server.checkpoint, *words).stdout[:-1]
    *growing, whole = page.submit("The old bear", length=300, seed=9, stop="moon", api_name="/generate")
    assert "The old bear" + whole == here
    assert all(whole.startswith(text) for text in growing)


def test_the_score_is_the_evaluation_token_by_token(page, server, texts, tmp_path):
    context, text = "The old bear slept.\n\n", (texts / "test.txt").read_text(encoding="utf-8")[:600]
    for name, content in [("context", context), ("text", text)]:
        (tmp_path / name).write_text(content, encoding="utf-8")
    words = [server.checkpoint, tmp_path / "text", "--context", tmp_path / "context", "--runtime", "onnx", "--json"]
    wanted = json.loads(run("-m", "lstm", "evaluate", *words).stdout)
    told = page.predict(text, context, api_name="/score")
    assert told["bits_per_byte"] == pytest.approx(wanted["bits_per_byte"], abs=1e-4)
    assert told["bytes"] == wanted["bytes"]
    assert "".join(token["text"] for token in told["tokens"]) == text
    bits = wanted["bits_per_byte"] * wanted["bytes"]
    assert sum(token["bits"] for token in told["tokens"]) == pytest.approx(bits, rel=1e-3)


def test_what_comes_next_is_what_the_page_writes_when_greedy(page):
    told = page.predict("The old", count=200, api_name="/next")
    odds = [token["probability"] for token in told["tokens"]]
    assert odds == sorted(odds, reverse=True)
    assert sum(odds) <= 1.001
    assert page.predict("The old", temperature=0, length=1, api_name="/generate") == told["tokens"][0]["text"]


@pytest.mark.parametrize(
    ("endpoint", "values", "word"),
    [
        ("generate", {"length": 10**9}, "Length"), ("generate", {"temperature": "hot"}, "Temperature"),
        ("generate", {"stop": 5}, "stops"), ("score", {"text": ["a"]}, "The text"),
        ("score", {"text": "x" * 20_001}, "shorten"), ("next", {"count": 1.5}, "Count"),
    ],
)  # fmt: skip
def test_bad_calls_are_refused_before_the_queue_with_the_reason(server, endpoint, values, word):
    answer = httpx.post(f"{server.url}gradio_api/call/v2/{endpoint}", json=values, timeout=30)
    assert answer.status_code == 422
    (problem,) = [verdict for verdict in answer.json()["detail"] if not verdict["is_valid"]]
    assert word in problem["message"]


@pytest.mark.parametrize(
    ("endpoint", "values", "word"), [("generate", {"model": "other"}, "no checkpoint 'other'"), ("score", {}, "empty")]
)
def test_what_only_the_model_can_tell_is_one_sentence_too(page, endpoint, values, word):
    with pytest.raises(Exception, match=word):
        page.predict(**values, api_name=f"/{endpoint}")


def test_a_parameter_that_is_none_is_named(server):
    answer = httpx.post(f"{server.url}gradio_api/call/v2/next", json={"prompt": "The old", "cuont": 3}, timeout=30)
    assert answer.status_code == 422
    assert "cuont is no parameter of next: choose among prompt, count, model" in answer.json()["detail"]
