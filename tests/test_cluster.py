"""The page on a real cluster of this machine: Ray, replicas, page processes. `make test-cluster` runs it."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from conftest import ROOT, SHIPPED, run
from engines import collect, core, request
from serving import start

pytest_plugins = ["serving"]
pytestmark = pytest.mark.cluster
ray = pytest.importorskip("ray", reason="needs requirements-cluster.txt")

from ray import serve  # noqa: E402

from lstm import checkpoint, engine  # noqa: E402
from lstm.cluster import ROOM, ClusterConfig, connect, writers  # noqa: E402
from lstm.config import Refused, SamplingConfig  # noqa: E402
from lstm.remote import RemoteEngine  # noqa: E402

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["PYTHONPATH"] = str(ROOT)
NAME = "writers"
TOKEN = {"RAY_AUTH_MODE": "token"}
SAMPLED = SamplingConfig(temperature=0.8, top_k=40, seed=7, length=30)
LONG = 300  # tokens of a text that is written for seconds


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    serve.start(proxy_location="Disabled")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_checkpoint, slow_checkpoint) -> Path:
    """More checkpoints side by side than a replica has open."""
    folder = tmp_path_factory.mktemp("many")
    for n in range(ROOM + 1):
        shutil.copytree(tiny_checkpoint, folder / f"tiny{n}")
    shutil.copytree(slow_checkpoint, folder / "slow")
    return folder


@pytest.fixture(scope="module")
def handle(cluster, folder):
    return serve_again(folder, 2)


def serve_again(folder: Path, replicas: int):
    config = ClusterConfig(checkpoint=str(folder / "tiny0"), replicas=replicas, most=replicas)
    return serve.run(writers(config), name=NAME, route_prefix=None)


def far(handle, path: Path) -> RemoteEngine:
    return RemoteEngine(checkpoint.load(path), connect(handle))


def processes() -> list[int]:
    """The replicas' process ids."""
    found = Path("/proc").glob("[0-9]*/cmdline")
    return [int(path.parent.name) for path in found if path.read_bytes().startswith(b"ray::ServeReplica:writers:w")]


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alone(path: Path, prompt: str, settings: SamplingConfig) -> list:
    return core(list(engine.write(checkpoint.load(path), prompt, settings)))


def test_seeded_texts_equal_the_local_engines(handle, folder):
    async def everybody() -> list:
        remote = far(handle, folder / "tiny0")
        return await asyncio.gather(*(collect(remote.stream(*request(n))) for n in range(60)))

    for n, events in enumerate(asyncio.run(everybody())):
        assert core(events) == alone(folder / "tiny0", *request(n))


def test_gates_come_where_they_are_watched(handle, folder):
    async def watch() -> list:
        stream = far(handle, folder / "tiny0").stream("The wolf", SamplingConfig(length=4), watch=True)
        return await collect(stream)

    config = checkpoint.load(folder / "tiny0").config
    for event in asyncio.run(watch()):
        assert event.gates.forget.shape == (config.layers, config.hidden_size)


def test_checkpoints_are_served_by_name_and_the_least_used_one_makes_room(handle, folder):
    """A text that is being written with one that has to go comes to its end."""
    slow = [folder / "slow"] * 2
    tiny = [folder / f"tiny{n}" for n in range(ROOM + 1)] * 2
    settings = SamplingConfig(seed=2, length=40)

    async def everybody() -> list:
        begun = [far(handle, path).stream("The wolf", settings) for path in slow]
        first = [await anext(stream) for stream in begun]
        rest = [await collect(far(handle, path).stream("The wolf", settings)) for path in tiny]
        return [[head, *await collect(stream)] for head, stream in zip(first, begun, strict=True)] + rest

    wanted = {path: alone(path, "The wolf", settings) for path in (folder / "slow", folder / "tiny0")}
    for path, events in zip(slow + tiny, asyncio.run(everybody()), strict=True):
        assert core(events) == wanted[path if path.name == "slow" else folder / "tiny0"]


def test_a_reader_who_leaves_frees_his_place(handle, folder):
    """More readers than there are places, of texts that take minutes; all but one leave."""

    async def crowd() -> None:
        remote, settings = far(handle, folder / "slow"), SamplingConfig(length=2000)
        streams = [remote.stream("The wolf", settings) for _ in range(2 * 64 + 8)]
        tasks = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(4)
        for task, stream in zip(tasks, streams, strict=True):
            task.cancel()
            await stream.aclose()
        del streams, tasks
        async with asyncio.timeout(20):
            assert len(await collect(remote.stream("The wolf", SamplingConfig(length=3)))) == 3

    asyncio.run(crowd())


def test_what_a_replica_refuses_is_one_sentence(handle, folder, tmp_path):
    shutil.copytree(folder / "tiny0", tmp_path / "elsewhere")
    stream = far(handle, tmp_path / "elsewhere").stream("The wolf", SamplingConfig())
    with pytest.raises(Refused, match="elsewhere") as refusal:
        asyncio.run(collect(stream))
    assert "\n" not in str(refusal.value)


async def while_written(remote: RemoteEngine, act) -> list:
    """Four texts; act() is called in a thread once each of them has begun, and begins before one of them ends."""
    begun = asyncio.Semaphore(0)

    async def one(n: int) -> list:
        events = []
        async for event in remote.stream("The wolf", SamplingConfig(seed=n, length=LONG)):
            events.append(event)
            if len(events) == 5:
                begun.release()
        return core(events)

    tasks = [asyncio.ensure_future(one(n)) for n in range(4)]
    for _ in tasks:
        await begun.acquire()
    acting = asyncio.ensure_future(asyncio.to_thread(act))
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in tasks)
    await acting
    return await asyncio.gather(*tasks)


@pytest.fixture(scope="module")
def long_texts(folder) -> list:
    """What the local engine writes in their place."""
    return [alone(folder / "slow", "The wolf", SamplingConfig(seed=n, length=LONG)) for n in range(4)]


def test_a_text_outlives_its_replica(handle, folder, long_texts):
    remote, victims = far(handle, folder / "slow"), processes()
    assert asyncio.run(while_written(remote, lambda: os.kill(victims[0], signal.SIGKILL))) == long_texts
    wait_for(lambda: len(set(processes()) - {victims[0]}) == 2, 30)
    remote_again = far(handle, folder / "slow")
    both = asyncio.run(while_written(remote_again, lambda: [os.kill(pid, signal.SIGKILL) for pid in processes()]))
    assert both == long_texts
    assert remote_again.moved >= 4


def test_replicas_that_are_drained_cut_no_text(handle, folder, long_texts):
    """Serve puts new replicas in the place of those that it has: all of these have to go."""
    wait_for(lambda: len(processes()) == 2)
    remote = far(handle, folder / "slow")
    assert asyncio.run(while_written(remote, lambda: serve_again(folder, 1))) == long_texts
    assert remote.moved == 0
    wait_for(lambda: len(processes()) == 1)


@pytest.fixture(scope="module")
def page(tiny_checkpoint):
    """app.py with two page processes before two replicas."""
    served = start(tiny_checkpoint, 0, "--cluster", "--replicas", "2", "--pages", "2")
    yield served
    served.end()


def join(page, session: str, headers: dict[str, str], **values: object) -> httpx.Response:
    """The first of the two requests of the panel."""
    config = httpx.get(f"{page.url}config").json()
    endpoint = next(each for each in config["dependencies"] if each["api_name"] == "write")
    controls = {component["id"]: component["props"] for component in config["components"]}
    data = [values.get(controls[n].get("label", "").lower(), controls[n].get("value")) for n in endpoint["inputs"]]
    data = ["" if value is None else value for value in data]
    body = {"data": data, "fn_index": endpoint["id"], "session_hash": session, "simple_format": True}
    return httpx.post(f"{page.url}gradio_api/queue/join", json=body, headers=headers)


def ask(page, session: str, **values: object) -> str:
    """A text as the panel asks for it: two requests, which only the session's name holds together.

    As the panel does, it asks again where they met at different processes, since there was one more meanwhile.
    """
    own, url = {"x-session-id": session}, f"{page.url}gradio_api/queue/data?session_hash={session}"
    for _ in range(3):
        joined = join(page, session, own, **values)
        assert joined.status_code == 200, joined.text
        with httpx.stream("GET", url, headers=own, timeout=30) as response:
            if response.status_code == 200:
                return heard(response)
            assert response.status_code == 404
    raise AssertionError("the two requests never met")


def heard(response: httpx.Response) -> str:
    """The whole text of a stream of events."""
    text = ""
    for line in response.iter_lines():
        message = json.loads(line[6:]) if line.startswith("data: ") else {}
        if message.get("msg") == "process_generating":
            text = json.loads(message["output"]["data"][0]).get("text", text)
        if message.get("msg") == "process_completed":
            assert message["success"], message
            return text
    raise AssertionError("the stream broke off")


def test_the_page_streams_through_any_of_its_processes(page, tiny_checkpoint):
    settings = SamplingConfig(temperature=0.8, top_k=40, seed=7, length=60)
    wanted = "".join(event[2] for event in alone(tiny_checkpoint, "The wolf", settings))
    for n in range(12):  # by chance alone, one of 4,096 tries would find the same process every time
        assert ask(page, f"s{n}", prompt="The wolf", length=60, seed=7) == wanted


def test_the_page_keeps_its_door(page):
    home = httpx.get(page.url)
    assert "script-src" in home.headers["content-security-policy"]
    assert httpx.get(f"{page.url}health").json()["ready"] is True
    assert httpx.get(f"{page.url}docs").status_code == 404
    assert httpx.post(f"{page.url}gradio_api/upload", content=b"x").status_code == 404
    assert httpx.post(f"{page.url}gradio_api/queue/join", content=b"x" * 100_000).status_code == 413


def test_nobody_speaks_for_another_address(page):
    """Two processes with three places each for an address: of seven texts one is refused, whoever asks for them."""
    said = [
        join(page, f"f{n}", {"x-session-id": f"f{n}", "x-forwarded-for": f"192.0.2.{n}"}).status_code for n in range(7)
    ]
    assert set(said) == {200, 429}


def test_a_browser_reads_a_text_from_the_cluster(page, browser):
    tab = browser.new_page()
    tab.goto(page.url)
    tab.locator("#prompt textarea").fill("The wolf")
    tab.locator("#generate").click()
    tab.wait_for_function("document.querySelector('#panel').innerText.length > 300", timeout=20_000)
    tab.close()


@contextmanager
def program(*words: str | Path, **environment: str) -> Iterator[None]:
    """A program of Ray's at work beside the tests; it is killed with all that it started, since asked it takes 30 s."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name(words[0]), *words[1:]], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).json()["ready"]
    except (httpx.HTTPError, ValueError):
        return False


def test_a_serve_config_file_runs_the_page(tiny_checkpoint, tmp_path):
    config = yaml.safe_load((ROOT / "docs" / "cluster.yaml").read_text())
    port = config["http_options"]["port"] = free_port()
    config["applications"][0]["args"] |= {"checkpoint": str(tiny_checkpoint), "replicas": 1, "most": 1, "pages": 1}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(config))
    with program("serve", "run", tmp_path / "cluster.yaml", RAY_ADDRESS="local"):  # not the other tests'
        wait_for(lambda: ready(port), 120)


def test_a_cluster_that_is_there_gets_the_project_and_serves_the_page(tmp_path):
    head = free_port()
    with program("ray", "start", "--head", "--block", f"--port={head}", "--include-dashboard=false", "--num-cpus=2"):
        wait_for(lambda: (Path.home() / ".ray" / "auth_token").exists() and listening(head))
        served = start(SHIPPED, 0, "--cluster", f"127.0.0.1:{head}", "--most", "1", env=os.environ | TOKEN)
        text = "".join(event.text for event in engine.write(checkpoint.load(SHIPPED), "The wolf", SAMPLED))
        assert ask(served, "s", prompt="The wolf", length=SAMPLED.length, seed=SAMPLED.seed) == text
        served.end()


def listening(port: int) -> bool:
    with socket.socket() as other:
        return other.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cluster", "127.0.0.1:9"], "there is no cluster at 127.0.0.1:9"),
        (["--cluster", "--replicas", "0"], "replicas = 0"),
        (["--cluster", "--checkpoint", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(tiny_checkpoint, words, sentence):
    done = run("app.py", "--checkpoint", tiny_checkpoint, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
