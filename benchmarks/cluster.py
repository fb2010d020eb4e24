"""The engine on Ray Serve: what a second replica brings, and what the loss of one costs.

    python benchmarks/cluster.py speed              # 64 texts at once, one replica against two, each on a core
    python benchmarks/cluster.py seeds kills drain  # equality with the local engine; also --streams, --count
    python benchmarks/cluster.py speed --larger     # with random weights of AWD-LSTM's number, 24 million
    python benchmarks/cluster.py --all              # about five minutes on two cores

Needs requirements-cluster.txt.
"""

import argparse
import asyncio
import gc
import itertools
import logging
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from machine import ROOT, describe, table

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["PYTHONPATH"] = str(ROOT)  # where the replicas find lstm
sys.path.insert(0, str(ROOT))
import numpy as np
import ray
import safetensors.numpy
from ray import serve

from lstm import checkpoint, engine
from lstm.cluster import ClusterConfig, connect, writers
from lstm.config import SamplingConfig
from lstm.export import build
from lstm.remote import RemoteEngine

NAME, PROMPT = "writers", "The old wolf"
WARM, STEADY = 4.0, 15.0  # seconds


def larger(folder: Path) -> Path:
    """A checkpoint of three layers of 956 with random weights and the shipped one's pieces."""
    shipped, draw = checkpoint.load(ROOT / "checkpoints" / "jungle-book"), np.random.default_rng(0)
    config = shipped.config.model_copy(update={"embedding_size": 400, "hidden_size": 956, "layers": 3})
    weights = {name: draw.normal(0, 0.05, shape).astype(np.float32) for name, shape in config.weight_shapes.items()}
    own = {
        "config.json": config.model_dump_json().encode(),
        "model.safetensors": safetensors.numpy.save({name: each.astype(np.float16) for name, each in weights.items()}),
        "model.onnx": build(weights, config),
    }
    checkpoint.save(folder / "larger", shipped.files() | own)
    return folder / "larger"


def deploy(options: argparse.Namespace, replicas: int) -> RemoteEngine:
    """An engine whose texts so many replicas write, once they are all in service."""
    config = ClusterConfig(checkpoint=str(options.checkpoint), replicas=replicas, most=replicas)
    handle = serve.run(writers(config), name=NAME, route_prefix=None)
    deadline = time.monotonic() + 60
    while healthy() != replicas or len(processes()) != replicas:
        assert time.monotonic() < deadline, "the replicas did not come up"
        time.sleep(0.1)
    return RemoteEngine(checkpoint.load(options.checkpoint), connect(handle))


def healthy() -> int:
    """Replicas that Serve takes for healthy."""
    return serve.status().applications[NAME].deployments["writer"].replica_states.get("RUNNING", 0)


def processes() -> list[int]:
    """The replicas' process ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(f"ray::ServeReplica:{NAME}:writer".encode()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


async def text(far: RemoteEngine, seed: int, length: int) -> list[tuple[int, str]]:
    """A whole text as ids and parts."""
    settings = SamplingConfig(seed=seed, length=length)
    return [(event.id, event.text) async for event in far.stream(PROMPT, settings)]


def local(options: argparse.Namespace, seeds: int, length: int) -> list[list[tuple[int, str]]]:
    """The same texts as the engine here writes them alone."""
    opened = checkpoint.load(options.checkpoint)
    settings = [SamplingConfig(seed=seed, length=length) for seed in range(seeds)]
    return [[(event.id, event.text) for event in engine.write(opened, PROMPT, each)] for each in settings]


async def rate(far: RemoteEngine, streams: int) -> float:
    """Tokens a second of all readers together, who ask again as soon as a text has ended."""
    count, begun = 0, time.monotonic() + WARM
    until = begun + STEADY

    async def reader(n: int) -> None:
        nonlocal count
        for seed in itertools.count(n, streams):
            async for _ in far.stream(PROMPT, SamplingConfig(seed=seed, length=2000)):
                count += begun < time.monotonic()
                if time.monotonic() > until:
                    return

    await asyncio.gather(*(reader(n) for n in range(streams)))
    return count / STEADY


def speed(options: argparse.Namespace) -> list[list]:
    """Tokens/s of one replica on one core, and of two on two, in turn."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for replicas in (1, 2) * options.rounds:
        far = deploy(options, replicas)
        for core, pid in enumerate(processes()):
            pin(pid, core)
        asyncio.run(text(far, 0, 10))
        rates[replicas].append(asyncio.run(rate(far, options.streams or 64)))
        print(f"  {replicas} replicas: {rates[replicas][-1]:,.0f} tokens/s", flush=True)
    one, two = (float(np.median(rates[n])) for n in (1, 2))
    ratio = [["two replicas over one, times", round(two / one, 2), "at least 1.6"]]
    return [["tokens/s, one replica", round(one), ""], ["tokens/s, two replicas", round(two), ""], *ratio]


def seeds(options: argparse.Namespace) -> list[list]:
    """Texts that two replicas write among others, against those of the engine here."""
    count = options.count or 500
    far, wanted = deploy(options, 2), local(options, count, 100)

    async def everybody() -> list:
        places = asyncio.Semaphore(options.streams or 64)

        async def one(seed: int) -> list:
            async with places:
                return await text(far, seed, 100)

        return await asyncio.gather(*(one(seed) for seed in range(count)))

    wrong = sum(got != want for got, want in zip(asyncio.run(everybody()), wanted, strict=True))
    return [[f"seeds of {count} that differ", wrong, "0"]]


def kills(options: argparse.Namespace) -> list[list]:
    """kill -9 of one of two replicas, again and again, while texts are written."""
    count, streams = options.count or 10, options.streams or 32
    far, wanted = deploy(options, 2), local(options, streams, 400)
    tally = {"written": 0, "lost": 0, "changed": 0}
    seconds: list[float] = []

    async def reader(n: int, done: asyncio.Event) -> None:
        while not done.is_set():
            try:
                got = await text(far, n, 400)
                tally["changed"] += got != wanted[n]
            except Exception as error:
                print(f"  {type(error).__name__}: {error}")
                tally["lost"] += 1
            tally["written"] += 1

    async def main() -> None:
        done = asyncio.Event()
        readers = [asyncio.ensure_future(reader(n, done)) for n in range(streams)]
        for n in range(count):
            await asyncio.sleep(1.5)
            victim = processes()[n % 2]
            os.kill(victim, signal.SIGKILL)
            began = time.perf_counter()
            while len(processes()) < 2 or await asyncio.to_thread(healthy) < 2 or victim in processes():
                await asyncio.sleep(0.1)
            seconds.append(time.perf_counter() - began)
        done.set()
        await asyncio.gather(*readers)

    asyncio.run(main())
    print(f"  {tally['written']} texts of 400 tokens, {far.moved} times one went on elsewhere")
    return [
        [f"texts lost to {count} kills", tally["lost"], "0"],
        [f"texts changed by {count} kills", tally["changed"], "0"],
        ["seconds until a new replica serves, at most", round(max(seconds), 1), "at most 30"],
    ]


def drain(options: argparse.Namespace) -> list[list]:
    """One new replica in the place of two, while these write: none of their texts has to go on elsewhere."""
    streams = options.streams or 32
    far, wanted = deploy(options, 2), local(options, streams, 1500)

    async def main() -> int:
        readers = [asyncio.ensure_future(text(far, n, 1500)) for n in range(streams)]
        await asyncio.sleep(1.0)
        drained = asyncio.ensure_future(asyncio.to_thread(deploy, options, 1))
        await asyncio.sleep(1.0)
        left = sum(not reader.done() for reader in readers)
        print(f"  {left} of {streams} texts were being written when their replicas were told to go")
        await drained
        texts = await asyncio.gather(*readers, return_exceptions=True)
        return sum(got != want for got, want in zip(texts, wanted, strict=True))

    spoilt = asyncio.run(main())
    return [["texts cut by a drain", far.moved, "0"], ["texts lost or changed by a drain", spoilt, "0"]]


MEASURES = {"speed": speed, "seeds": seeds, "kills": kills, "drain": drain}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], metavar="|".join(MEASURES))
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--streams", type=int, help="texts at once")
    parser.add_argument("--count", type=int, help="of seeds, or of kills")
    parser.add_argument("--rounds", type=int, default=2, help="of the speed with one replica and with two")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "jungle-book")
    parser.add_argument("--larger", action="store_true", help="with a larger model in place of the shipped one")
    options = parser.parse_args()
    home = tempfile.TemporaryDirectory()
    if options.larger:
        options.checkpoint = larger(Path(home.name))
    about = describe()
    print(f"{about['processor']}, {about['cores']} cores, commit {about['commit']}, {time.strftime('%Y-%m-%d')}")
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled")
    gc.freeze()  # as a page process does
    rows = []
    for name in MEASURES if options.all else options.measures:
        print(name, flush=True)
        rows += MEASURES[name](options)
    ray.shutdown()
    print("\n" + table(["", "measured", "bar"], rows))


if __name__ == "__main__":
    main()
