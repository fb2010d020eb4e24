"""Checkpoints whose files were altered: with the manifest as it was, and with one that is right about the change."""

import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lstm import checkpoint, resume
from lstm.config import Refused
from lstm.runtime import open_runtime

STATE = "state.bin"
FORGED = ("config.json", "metrics.json", "model.onnx", "model.safetensors", "tokenizer.model")
VAST = 2**40  # bytes of a file that takes no room
MEMORY, PATIENCE = 8 * 2**30, 60  # bytes and seconds that a forged checkpoint may take


class Outcome(NamedTuple):
    """What became of one trial: why it failed, "" if it did not; the seconds that count; what else is of interest."""

    failure: str
    seconds: float
    note: str = ""


def mutants(raw: bytes, other: bytes, seed: int, count: int) -> Iterator[bytes | None]:
    """Altered versions of a file, None for one that is far too large. other: a file to take its place."""
    draw, made = random.Random(seed), 0
    while made < count:
        mutant = _mutant(raw, other, draw)
        if mutant != raw:
            made += 1
            yield mutant


def _mutant(raw: bytes, other: bytes, draw: random.Random) -> bytes | None:
    place, length = draw.randrange(len(raw) + 1), draw.choice((1, 2, 8, 64, 512))
    noise = draw.randbytes(length)
    if draw.random() < 0.3:  # flipped bits
        flipped = bytearray(raw)
        for _ in range(draw.choice((1, 1, 1, 2, 8))):
            flipped[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    ways = (
        lambda: raw[:place],
        lambda: raw + noise,
        lambda: raw[:place] + noise + raw[place + length :],
        lambda: raw[:place] + raw[place + length :],
        lambda: raw[:place] + raw[place : place + length] + raw[place:],
        lambda: raw[:place] + bytes(length) + raw[place + length :],
        lambda: draw.choice((b"", other, raw + raw, raw[place:] + raw[:place], noise, None)),
    )
    return draw.choice(ways)()


def altered(home: Path, name: str, seed: int, count: int) -> list[Outcome]:
    """Mutants of one file of home's checkpoint (or of its run's state): each must be refused in one sentence."""
    folder = home / f"altered-{name}-{seed}"
    shutil.copytree(home / "whole", folder)
    if name == STATE:
        shutil.copy(home / STATE, folder)
    look = (lambda: resume.read(folder / STATE)) if name == STATE else (lambda: checkpoint.load(folder))
    raw, other = (folder / name).read_bytes(), (folder / "config.json").read_bytes()
    outcomes = []
    for mutant in [*mutants(raw, other, seed, count), raw]:
        with open(folder / name, "wb") as file:
            file.truncate(VAST) if mutant is None else file.write(mutant)
        began = time.perf_counter()
        found = _look(look)
        seconds = time.perf_counter() - began
        outcomes.append(Outcome(found if mutant is not raw else "", seconds))
    shutil.rmtree(folder)
    whole = found == "accepted"  # the last one was the file itself
    return outcomes[:-1] if whole else [Outcome(f"the whole file: {found}", 0.0)]


def _look(look) -> str:
    """Why what was seen is a failure, "" for a refusal in one sentence."""
    try:
        look()
    except Refused as refusal:
        return "" if "\n" not in str(refusal) else f"more than a sentence: {refusal}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def forged(home: Path, name: str, seed: int, count: int) -> list[Outcome]:
    """Mutants of one file with a manifest that is right about them: opened whole, or refused in one sentence.

    Each goes through everything that reads it, in a process whose death is a failure.
    """
    folder = home / f"forged-{name}-{seed}"
    shutil.copytree(home / "whole", folder)
    raw, other = (folder / name).read_bytes(), (folder / "config.json").read_bytes()
    listed = dict(checkpoint.load(folder).listed)
    outcomes = []
    for mutant in mutants(raw, other, seed, count):
        if mutant is not None:
            (folder / name).write_bytes(mutant)
            manifest = checkpoint.manifest(listed | {name: sha256(mutant).hexdigest()})
            (folder / checkpoint.MANIFEST).write_bytes(manifest)
            outcomes.append(_apart(folder))
    shutil.rmtree(folder)
    return outcomes


def _apart(folder: Path) -> Outcome:
    """Open a folder in a process of its own."""
    began, (reading, writing) = time.perf_counter(), os.pipe()
    if not (child := os.fork()):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        signal.alarm(PATIENCE)
        os.write(writing, _look(lambda: _use(folder)).encode()[:1000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.perf_counter() - began
    if status:
        return Outcome(f"died of signal {-status}", seconds)
    return Outcome("", seconds, "opened") if said == "accepted" else Outcome(said, seconds)


def _use(folder: Path) -> None:
    opened = checkpoint.load(folder)
    opened.weights()
    open_runtime(opened)
    opened.tokenizer.decode(opened.tokenizer.encode("The old wolf ran.\n"))
