"""What the page promises on a bad day, each promise as a measurement: see load.py.

Each works on a running page that believes X-Forwarded-For, by which readers of different addresses are told apart.
"""

import asyncio
import itertools
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import attacks
import numpy as np
from client import Page, Written, health, idle, join, listening, write
from machine import ROOT

sys.path.insert(0, str(ROOT))
from lstm import checkpoint, engine
from lstm.config import SamplingConfig

PROMPT = "The old wolf"
BELIEVED = ("--proxies", "127.0.0.1")


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    clients: int  # readers at once
    seconds: float  # of steady load
    count: int  # of what the bar counts: drops, ghosts, sessions, payloads
    length: int = 300  # tokens of a text
    checkpoint: Path = ROOT / "checkpoints" / "jungle-book"


class Figure(NamedTuple):
    """What was measured, and the most that it may be."""

    name: str
    value: float
    most: float
    timed: bool = False  # whether it depends on how fast the machine is

    @property
    def ok(self) -> bool:
        """Whether the bar is met."""
        return self.value <= self.most


class Offline:
    """Texts as the engine writes them alone, by their seeds."""

    def __init__(self, size: Size, seeds: int):
        opened = checkpoint.load(size.checkpoint)
        self.wanted = {}
        for seed in range(seeds):
            events = list(engine.write(opened, PROMPT, SamplingConfig(seed=seed, length=size.length)))
            self.wanted[seed] = ([event.id for event in events], "".join(event.text for event in events))

    def spoilt(self, seed: int, written: Written) -> int:
        """How many tokens were lost, doubled or crossed, at least one where the text is not the same."""
        ids, text = self.wanted[seed]
        got = [token[0] for token in written.tokens]
        wrong = sum(a != b for a, b in itertools.zip_longest(got, ids))
        whole = written.contiguous and "".join(token[1] for token in written.tokens) == written.text == text
        return wrong or int(not whole)


def person(n: int) -> str:
    """The n-th address."""
    return f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return round(1000 * float(np.percentile(seconds or [0.0], share)), 1)


async def load(size: Size, page: Page) -> list[Figure]:
    """Readers who ask again as soon as a text has ended."""
    offline, spoilt, count = Offline(size, 64), 0, 0
    began = time.perf_counter()

    async def reader(n: int) -> None:
        nonlocal spoilt, count
        for turn in itertools.count():
            seed = (n + turn) % 64
            written = await write(page, person(n), prompt=PROMPT, seed=seed, length=size.length)
            spoilt, count = spoilt + offline.spoilt(seed, written), count + 1
            if time.perf_counter() - began > size.seconds:
                return

    await asyncio.gather(*map(reader, range(size.clients)))
    rate = count * size.length / (time.perf_counter() - began)
    print(f"  {count} texts of {size.length} tokens, {size.clients} readers, {rate:.0f} tokens/s")
    return [Figure("load: tokens lost, doubled or crossed", spoilt, 0)]


async def determinism(size: Size, page: Page) -> list[Figure]:
    """Each seed once, among as many others as there are readers."""
    short = replace(size, length=50)
    offline, seeds = Offline(short, size.count), iter(range(size.count))
    different = 0

    async def reader(n: int) -> None:
        nonlocal different
        for seed in seeds:
            written = await write(page, person(n), prompt=PROMPT, seed=seed, length=50)
            different += offline.spoilt(seed, written) > 0

    await asyncio.gather(*map(reader, range(size.clients)))
    return [Figure(f"determinism: of {size.count} seeds, other among {size.clients} than alone", different, 0)]


async def overload(size: Size, page: Page) -> list[Figure]:
    """Joins of one second, each of another address, while somebody asks for the page's health."""
    took, done = [], asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            took.append((await health(page))[1])
            await asyncio.sleep(0.02)

    async def reader(n: int) -> tuple[str, float, dict]:
        await asyncio.sleep(n / size.count)
        session = f"crowd{n}"
        joined = await join(page, session, person(n), prompt=PROMPT, seed=n, length=200)
        if joined.status != 200:
            return ("refused" if joined.status == 503 else "other"), joined.seconds, joined.headers
        async with listening(page, session, person(n)) as messages:
            async for message in messages:
                if message.kind == "process_completed":
                    return ("finished" if b'"success":true' in message.raw else "failed"), 0.0, {}
        return "lost", 0.0, {}

    await write(page, prompt=PROMPT)  # what is made on first use
    watching = asyncio.ensure_future(watch())
    ends = await asyncio.gather(*map(reader, range(size.count)))
    done.set()
    await watching
    refused = [seconds for kind, seconds, _ in ends if kind == "refused"]
    silent = sum(kind == "refused" and "retry-after" not in headers for kind, _, headers in ends)
    lost = sum(kind not in ("refused", "finished") for kind, *_ in ends)
    print(f"  {len(ends) - len(refused)} accepted, {len(refused)} refused, median {percentile(refused, 50)} ms")
    return [
        Figure("overload: accepted ones that did not finish", lost, 0),
        Figure("overload: refusals without Retry-After", silent, 0),
        Figure("overload: the slowest refusal, ms", percentile(refused, 100), 100, timed=True),
        Figure("overload: /health, 99th percentile, ms", percentile(took, 99), 250, timed=True),
    ]


async def fairness(size: Size, page: Page) -> list[Figure]:
    """Four readers alone, then beside one address that wants many streams all the time."""
    over = asyncio.Event()

    async def others(turn: int) -> float:
        began = time.perf_counter()
        texts = [write(page, person(n), prompt=PROMPT, seed=n + 9 * turn, length=2 * size.length) for n in range(1, 5)]
        written = await asyncio.gather(*texts)
        assert all(each.ended for each in written)
        return sum(len(each.tokens) for each in written) / (time.perf_counter() - began)

    async def greedy(n: int) -> int:
        turns = 0
        while not over.is_set():
            written = await write(page, person(99), prompt=PROMPT, seed=n, length=2 * size.length)
            turns += written.status == 200
            await asyncio.sleep(0 if written.ended else 0.2)
        return turns

    await others(0)
    alone = [await others(turn) for turn in range(size.count)]
    crowd = [asyncio.ensure_future(greedy(n)) for n in range(32)]
    await asyncio.sleep(1)
    beside = [await others(turn) for turn in range(size.count)]
    over.set()
    written = sum(await asyncio.gather(*crowd))
    slower = float(np.median(alone) / np.median(beside))
    print(f"  the greedy one had {written} texts meanwhile; the others {np.median(alone):.0f} tokens/s alone")
    return [Figure("fairness: others' rate, times slower beside 32 streams", round(slower, 2), 2, timed=True)]


async def disconnect(size: Size, page: Page) -> list[Figure]:
    """Connections that break: every other one while its prompt is read, the others after the first frame."""
    took, stuck = [], 0
    draw = random.Random(0)
    for n in range(size.count):
        session, reading = f"drop{n}", n % 2
        words = " ".join("".join(draw.choices("etaoinshrdlu", k=4)) for _ in range(1200)) if reading else PROMPT
        await join(page, session, prompt=words, seed=n, length=2000)
        async with listening(page, session) as messages:
            async for message in messages:
                if message.kind == ("process_starts" if reading else "process_generating"):
                    break
            if reading:
                await asyncio.sleep(0.03)
        try:
            took.append(await idle(page, 10))
        except TimeoutError:
            stuck += 1
    return [
        Figure(f"disconnect: of {size.count} slots, still held after 10 s", stuck, 0),
        Figure("disconnect: slot free, 99th percentile, ms", percentile(took, 99), 250, timed=True),
    ]


async def ghosts(size: Size, page: Page) -> list[Figure]:
    """Joins that nobody listens to, in waves as large as the page lets in."""
    await write(page, prompt=PROMPT)
    accepted, slowest, before = 0, 0.0, page.megabytes()
    while accepted < size.count:
        wave = [join(page, f"ghost{accepted + n}", person(n), prompt=PROMPT, seed=n, length=2000) for n in range(130)]
        accepted += sum(joined.status == 200 for joined in await asyncio.gather(*wave))
        slowest = max(slowest, await idle(page))
        print(f"  {accepted} ghosts, {slowest:.1f} s, {page.megabytes() - before:+.1f} MB", flush=True)
    grown = page.megabytes() - before
    return [
        Figure(f"ghosts: seconds until the slots of {accepted} were free", round(slowest, 1), 10, timed=True),
        Figure("ghosts: MB more", round(grown, 1), 50),
    ]


async def memory(size: Size, page: Page) -> list[Figure]:
    """Sessions, each new to the page, after as many as it keeps."""
    numbers = itertools.count()

    async def sessions(count: int) -> None:
        async def reader(n: int) -> None:
            for _ in range(count // 16):
                assert (await write(page, person(n), prompt=PROMPT, seed=next(numbers), length=20)).ended

        await asyncio.gather(*map(reader, range(16)))

    await sessions(400)
    before = page.megabytes()
    await sessions(size.count)
    grown = page.megabytes() - before
    return [Figure(f"memory: MB more after {size.count} sessions", round(grown, 1), 30)]


async def shutdown(size: Size, _: Page) -> list[Figure]:
    """SIGTERM and SIGINT in the midst of texts, of a page of its own each time."""
    unfinished = let_in = wrong = 0
    slowest = 0.0
    for n in range(size.count):
        page = Page(size.checkpoint, *BELIEVED)
        texts = [asyncio.ensure_future(write(page, person(k), prompt=PROMPT, seed=k, length=2000)) for k in range(8)]
        while not (await health(page))[0]["engines"][size.checkpoint.name]["running"]:
            await asyncio.sleep(0.01)
        page.process.send_signal((signal.SIGTERM, signal.SIGINT)[n % 2])
        began = time.perf_counter()
        await asyncio.sleep(0.05)
        try:
            late = await join(page, "late", person(99), prompt=PROMPT)
            let_in += late.status == 200
        except ConnectionError:  # it has left
            pass
        written = await asyncio.gather(*texts)
        unfinished += sum(each.status == 200 and not each.ended for each in written)
        wrong += await asyncio.to_thread(page.process.wait, 60) != 0
        slowest = max(slowest, time.perf_counter() - began)
    return [
        Figure(f"shutdown: of {size.count}, texts that were cut", unfinished, 0),
        Figure("shutdown: new ones that were let in", let_in, 0),
        Figure("shutdown: exits with another status than 0", wrong, 0),
        Figure("shutdown: seconds, at most", round(slowest, 1), 30, timed=True),
    ]


async def fuzzing(size: Size, page: Page) -> list[Figure]:
    """Payloads of every kind, and whether the page writes as it did before."""
    offline = Offline(size, 1)
    done = await asyncio.to_thread(attacks.fuzz, page.port, page.request("")["fn_index"], size.count)
    for told in done.failed[:5]:
        print(f"  {told}")
    spoilt = offline.spoilt(0, await write(page, prompt=PROMPT, seed=0, length=size.length))
    print(f"  {done.sent} payloads, {done.accepted} accepted; slowest: {done.slowest[1]}")
    return [
        Figure("API fuzz: crashes, hangs, 500s, refusals without a reason", len(done.failed), 0),
        Figure("API fuzz: tokens spoilt afterwards", spoilt, 0),
        Figure("API fuzz: the slowest refusal, ms", round(1000 * done.slowest[0], 1), 1000, timed=True),
    ]


async def bodies(size: Size, page: Page) -> list[Figure]:
    """1, 10 and 100 MB; the last one only where more than two are asked for."""
    await write(page, prompt=PROMPT)
    before = page.megabytes("VmHWM")
    wrong = await attacks.bodies(page, [10**6, 10**7, 10**8][: size.count])
    grown = page.megabytes("VmHWM") - before
    print("".join(f"  {told}\n" for told in wrong[:5]), end="")
    return [
        Figure("big bodies: answered with something else than 413", len(wrong), 0),
        Figure("big bodies: MB more, at the most", round(grown, 1), 20),
    ]


async def hostile(size: Size, page: Page) -> list[Figure]:
    """Scripts in a real browser; requests for what is nobody's business."""
    ran = await asyncio.to_thread(attacks.scripts, page, size.count)
    count, got = await attacks.probe(page)
    print("".join(f"  {told}\n" for told in (*ran[:3], *got[:5])), end="")
    return [
        Figure(f"page attacks: of {size.count} scripts, run", len(ran), 0),
        Figure(f"page attacks: of {count} probes, leaks", len(got), 0),
    ]


BARS: dict[str, Callable[[Size, Page], Awaitable[list[Figure]]]] = {
    bar.__name__: bar
    for bar in (
        load, overload, fairness, disconnect, ghosts, memory, determinism, shutdown, fuzzing, bodies, hostile,
    )
}  # fmt: skip
