"""What the tests share: a text of their own making, and a tiny model trained on it by the real train.py."""

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

os.environ["OMP_NUM_THREADS"] = "1"  # tiny models gain nothing from more, and tests share the machine

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
SHIPPED = ROOT / "checkpoints" / "jungle-book"

WHO = ["the grey wolf", "the old bear", "a small cub", "the python", "the kite", "a brown mongoose", "the elephant"]
DID = ["ran", "slept", "sang", "hunted", "waited", "called", "drank", "listened"]
WHERE = ["by the river", "under the tall tree", "in the long grass", "on the rock", "at the ford", "near the cave"]
WHEN = ["at night", "before dawn", "when the moon rose", "in the rains", "all day", "until the stars went out"]


def make_text(sentences: int, seed: int = 0) -> str:
    """Paragraphs of simple sentences, with a verse, accents and dashes now and then."""
    draw = random.Random(seed)
    paragraphs = []
    for n in range(0, sentences, 5):
        said = [[draw.choice(words) for words in (WHO, DID, WHERE, WHEN)] for _ in range(5)]
        paragraphs.append(" ".join(" ".join(words).capitalize() + "." for words in said))
        if n % 50 == 45:
            paragraphs.append("     Oh, hear the call--\n        the café is naïve!\n     “Good hunting,” they say.")
    return "\n\n".join(paragraphs) + "\n"


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess:
    """Run a program of the project as a person would, in its folder."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, **options)


@contextmanager
def full_disk(_folder: Path) -> Iterator[None]:
    """Files end at 1,000 bytes: the kernel writes that much and refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing may be written into a folder; the superuser, who may do everything, becomes nobody meanwhile."""
    folder.chmod(0o555)
    for path in (*folder.parents[:-1], folder) if os.geteuid() == 0 else ():
        path.chmod(path.stat().st_mode | 0o055)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)
        folder.chmod(0o755)


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> Path:
    """A folder with train.txt, valid.txt and test.txt."""
    folder = tmp_path_factory.mktemp("texts")
    for n, (name, sentences) in enumerate([("train", 1500), ("valid", 100), ("test", 100)]):
        (folder / f"{name}.txt").write_text(make_text(sentences, seed=n), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory, texts) -> Path:
    """A checkpoint that train.py made of the tests' own text in a few seconds."""
    out = tmp_path_factory.mktemp("checkpoints") / "tiny"
    read = ["--corpus", texts / "train.txt", "--valid", texts / "valid.txt"]
    done = run("train.py", "--preset", "tiny", *read, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def slow_checkpoint(tmp_path_factory, tiny_checkpoint) -> Path:
    """A large model with random weights, which takes a few seconds for a long text: for tests that act in the midst."""
    from lstm import checkpoint, export

    tiny, draw = checkpoint.load(tiny_checkpoint), np.random.default_rng(0)
    config = tiny.config.model_copy(update={"embedding_size": 512, "hidden_size": 1536, "layers": 2})
    shapes = config.weight_shapes
    weights = {name: draw.uniform(-0.05, 0.05, shape).astype(np.float16) for name, shape in shapes.items()}
    readable = [tiny.tokenizer.piece(i).strip(" \n").isalpha() for i in range(config.vocab_size)]
    weights["output_bias"][np.logical_not(readable)] = -100  # the page shows control characters as signs
    files = tiny.files() | {
        "config.json": config.model_dump_json().encode(),
        "model.safetensors": safetensors.numpy.save(weights),
        "model.onnx": export.build({name: w.astype(np.float32) for name, w in weights.items()}, config),
    }
    out = tmp_path_factory.mktemp("checkpoints") / "slow"
    checkpoint.save(out, files)
    return out


@pytest.fixture(scope="session")
def benchmark_texts() -> dict[str, str]:
    """The book's split by name; skips where it is absent."""
    folder = SHARED / "benchmark"
    if not folder.is_dir():
        pytest.skip("the benchmark texts (../shared/benchmark) are not here")
    return {name: (folder / f"{name}.txt").read_bytes().decode() for name in ("train", "valid", "test")}
