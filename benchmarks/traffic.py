"""What a text costs after it was written: seconds of a page process, bytes on the way, bytes of state.

    python benchmarks/traffic.py [--seconds 8] [--clients 4] [--checkpoint FOLDER]

Real page processes are asked for texts that player.py plays to them, short and long, fast and slow. What a question, a
frame and a token cost is what fits the processor time of all of them best, by least squares.
"""

import argparse
import asyncio
import json
import os
import pickle
import secrets
import sys
import time
from dataclasses import dataclass

import numpy as np
from client import Page, join, listening
from machine import ROOT, describe, table

sys.path.insert(0, str(ROOT))

from lstm import checkpoint
from lstm.config import SamplingConfig
from lstm.engine import write

CASES = [(1, 355), (200, 355), (200, 5896), (1000, 355), (1000, 5896)]  # tokens of a text, tokens a second
KEPT = 32  # states that a text keeps, as in lstm/text.py


@dataclass
class Sums:
    """Of all texts of a case."""

    texts: int = 0
    frames: int = 0
    tokens: int = 0
    frame_bytes: int = 0  # of JSON in UTF-8
    wire_bytes: int = 0  # of the event stream
    seconds: float = 0.0  # of the page's processor


async def read(page: Page, sums: Sums, length: int) -> None:
    """One reader's text. Raises SystemExit if it does not come whole."""
    session = secrets.token_hex(6)
    if (await join(page, session, length=length)).status != 200:
        raise SystemExit("the page refused a text")
    tokens = 0
    async with listening(page, session) as messages:
        async for message in messages:
            sums.wire_bytes += len(message.raw) + len(b"data:\n")
            if message.kind == "process_generating":
                frame = json.loads(message.raw)["output"]["data"][0]
                sums.frames += 1
                sums.frame_bytes += len(frame.encode())
                tokens += len(json.loads(frame).get("tokens", []))
            if message.kind in ("process_completed", "unexpected_error"):
                break
    if tokens != length:
        raise SystemExit(f"a text of {length} tokens came with {tokens}")
    sums.texts, sums.tokens = sums.texts + 1, sums.tokens + tokens


async def measure(page: Page, length: int, clients: int, seconds: float) -> Sums:
    """So many readers ask again and again, each on their own."""

    async def reader(sums: Sums, until: float) -> None:
        while time.perf_counter() < until:
            await read(page, sums, length)

    await asyncio.gather(*(reader(Sums(), time.perf_counter() + 1) for _ in range(clients)))
    sums, before = Sums(), page.cpu_seconds()
    await asyncio.gather(*(reader(sums, time.perf_counter() + seconds) for _ in range(clients)))
    sums.seconds = page.cpu_seconds() - before
    return sums


def cases(folder: str, clients: int, seconds: float) -> list[Sums]:
    """A page process for each speed."""
    measured = {}
    for speed in sorted({speed for _, speed in CASES}):
        os.environ["PLAYER_SPEED"] = str(speed)
        page = Page(folder, "--streams", str(clients), program="benchmarks/player.py")
        try:
            for length, at in CASES:
                if at == speed:
                    measured[length, at] = asyncio.run(measure(page, length, clients, seconds))
        finally:
            page.stop()
    return [measured[case] for case in CASES]


def costs(measured: list[Sums]) -> np.ndarray:
    """Seconds of a question, of a frame and of a token, (3,); each case counts by what share of it is missed."""
    counts = np.array([[sums.texts, sums.frames, sums.tokens] for sums in measured], float)
    spent = np.array([sums.seconds for sums in measured])
    return np.linalg.lstsq(counts / spent[:, None], np.ones(len(spent)), rcond=None)[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each case")
    parser.add_argument("--clients", type=int, default=4, help="readers at once")
    parser.add_argument("--checkpoint", default="checkpoints/jungle-book", help="whose texts are played")
    options = parser.parse_args()
    about = describe()
    measured = cases(options.checkpoint, options.clients, options.seconds)
    question, frame, token = costs(measured)
    rows = []
    for (length, speed), sums in zip(CASES, measured, strict=True):
        fitted = (sums.texts * question + sums.frames * frame + sums.tokens * token) / sums.seconds - 1
        rows.append([
            f"{length:,} tokens at {speed:,}/s", sums.texts, round(sums.frames / sums.texts, 1),
            round(sums.frame_bytes / sums.tokens), round(sums.wire_bytes / sums.tokens),
            round(sums.wire_bytes / sums.texts), round(1000 * sums.seconds / sums.texts, 1), f"{fitted:+.0%}",
        ])  # fmt: skip
    print(f"{about['processor']}, {about['cores']} cores, commit {about['commit']}\n")
    heads = ["text", "texts", "frames", "frames' bytes/token", "sent/token", "sent/text", "page ms", "fit"]
    print(table(heads, rows), "\n")
    print(f"a question {1e3 * question:.1f} ms, a frame {1e3 * frame:.2f} ms, a token {1e6 * token:.0f} µs; ", end="")
    print("tokens/s of a page process: " + ", ".join(per_second(measured)))
    print(carried(options.checkpoint))


def carried(folder: str) -> str:
    """What a text is between two processes, and what it is at rest."""
    opened = checkpoint.load(ROOT / folder)
    events = list(write(opened, "The old wolf", SamplingConfig(length=192, seed=7)))
    sent = sum(len(pickle.dumps(events[n : n + 16])) for n in range(0, len(events), 16)) / len(events)
    state = 2 * opened.config.layers * opened.config.hidden_size * 4
    kept = f"a state {state:,} bytes, {KEPT * state:,} with the {KEPT} that a text keeps; 2 bytes an id"
    return f"a token event {sent:.0f} bytes, pickled by sixteens; {kept}"


def per_second(measured: list[Sums]) -> list[str]:
    """For each kind of text, the tokens that would take a page process all its time."""
    named = [(f"{length:,} at {speed:,}/s", sums) for (length, speed), sums in zip(CASES, measured, strict=True)]
    return [f"{round(sums.tokens / sums.seconds):,} ({name})" for name, sums in named]


if __name__ == "__main__":
    main()
