"""What checkpoints and training do on a bad day: altered files, kills, signals, failing disks, texts that are none.

    python benchmarks/faults.py --short                half a minute
    python benchmarks/faults.py kills --count 40       one bar, so many trials
    python benchmarks/faults.py --all                  the full sizes

Prints how many trials each bar had, how many failed, and the worst seconds; ends with status 1 if any failed.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch: the same sums in the same order
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import mishaps  # noqa: E402
import mutants  # noqa: E402
from machine import describe, table  # noqa: E402
from mutants import Outcome  # noqa: E402

from lstm import figures, optimizers  # noqa: E402
from lstm.config import ModelConfig, TrainConfig  # noqa: E402
from lstm.model import LanguageModel  # noqa: E402
from lstm.workflow import train_checkpoint  # noqa: E402, F401 - imported here, for all runs that are forked

FILES = ("manifest.json", "README.md", "config.json", "curve.png", "metrics.json")
FILES += ("model.onnx", "model.safetensors", "tokenizer.model", mutants.STATE)
CHUNK = 250  # mutants that one process takes at a time
BARS = {  # trials in short and in full; of mutants, for each type of file
    "altered": (50, 50_000),
    "forged": (5, 500),
    "kills": (2, 200),
    "signals": (2, 50),
    "disks": (3, 30),
    "texts": (0, 0),
}
LABELS = {
    "altered": "altered {}",
    "forged": "forged {}",
    "kills": "kill -9, resumed",
    "signals": "SIGINT, SIGTERM",
    "disks": "failing disk",
    "texts": "no texts",
}


def write_texts(home: Path) -> None:
    """Texts of our own making to train on."""
    draw = random.Random(0)
    parts = ["wo", "lf", "be", "ar", "ja", "ck", "al", "ri", "ver", "sto", "ne", "gra", "ss", "hu", "nt", "moo", "n"]
    words = ["".join(draw.choices(parts, k=draw.randint(1, 3))) for _ in range(300)]
    for name, sentences in (("train", 400), ("valid", 10)):
        lines = (" ".join(draw.choices(words, k=8)).capitalize() + ".\n" for _ in range(sentences))
        (home / f"{name}.txt").write_text("".join(lines))


def bad_texts(home: Path) -> Iterator[Path]:
    """Sources that cannot be learnt from."""
    noise = random.Random(0).randbytes(50_000)
    text = (home / "train.txt").read_text()
    files = {
        "empty": b"",
        "nul": b"wolf\0" * 1000,
        "binary": noise,
        "utf16-unmarked": text.encode("utf-16-le"),
        "utf16-nul": "wolf\0".encode("utf-16") * 1000,
        "latin-1": ("é" * 5000).encode("latin-1"),
        "damaged-utf8": ("Café. " * 1000).encode() + b"\xc3",
        "one-letter": b"a" * 50_000,
        "one-line-break": b"\n" * 50_000,
        "one-space": b" " * 50_000,
        "endless": b"ab" * 100_000,
        "ten-bytes": b"ten bytes.",
    }
    for name, raw in files.items():
        (home / f"{name}.txt").write_bytes(raw)
        yield home / f"{name}.txt"
    (home / "images").mkdir()
    (home / "images" / "wolf.png").write_bytes(b"\x89PNG\r\n\x1a\n" + noise)
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to(home / "loop")
    for name in ("images", "images/wolf.png", "pipe", "loop", "nowhere"):
        yield home / name
    yield Path("/dev/zero")


def refused_text(home: Path, source: Path) -> Outcome:
    """Train on a source that is none: status 2, one sentence, nothing written."""
    out = home / f"text-{source.name}" / "out"
    words = [*mishaps.WORDS, "--corpus", str(source), "--out", str(out)]
    ended = mishaps.Running(words).end()
    sentence = ended.complained.strip()
    good = ended.status == 2 and sentence and "\n" not in sentence and not list(out.parent.glob("*"))
    return Outcome("" if good else f"{source.name}: status {ended.status}, {sentence[-300:]}", ended.seconds)


def warm_up() -> None:
    """Import what torch and matplotlib import at their first use, for all runs that are forked."""
    optimizers.make_optimizers(LanguageModel(ModelConfig()), TrainConfig())
    figures.learning_curves({"": [{"seconds": 0.0, "valid_bits_per_byte": 0.0, "train_bits_per_byte": 0.0}]})


def prepare(home: Path) -> tuple[str, float]:
    """The texts, a whole checkpoint with its run's state; the result of an undisturbed run, and its seconds."""
    write_texts(home)
    straight = mishaps.Running(mishaps.command(home, home / "whole")).end()
    if straight.status:
        sys.exit(f"the undisturbed run failed: {straight.complained}")
    other = home / "stopped"
    running = mishaps.Running(mishaps.command(home, other))
    state = home / "stopped.run" / "state.bin"
    while running.alive() and not (other.exists() and state.exists()):
        time.sleep(1e-3)
    running.end(mishaps.signal.SIGTERM)
    state.rename(home / mutants.STATE)
    return mishaps.result(home / "whole"), straight.seconds


def measure(pool: ProcessPoolExecutor, bar: str, count: int, home: Path, wanted: str, length: float) -> Iterator[list]:
    """Rows of the table: bar, tried, failures, worst seconds, remarks."""
    if bar in ("altered", "forged"):
        for name in FILES if bar == "altered" else mutants.FORGED:
            sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
            jobs = [pool.submit(getattr(mutants, bar), home, name, n, size) for n, size in enumerate(sizes)]
            yield row(LABELS[bar].format(name), [outcome for job in jobs for outcome in job.result()])
    elif bar == "texts":
        yield row(LABELS[bar], list(pool.map(refused_text, *zip(*((home, s) for s in bad_texts(home)), strict=True))))
    else:
        trial = {"kills": mishaps.killed, "signals": mishaps.asked_to_stop, "disks": mishaps.disk_failed}[bar]
        jobs = [pool.submit(trial, home, wanted, length, seed) for seed in range(count)]
        yield row(LABELS[bar], [job.result() for job in jobs])


def row(label: str, outcomes: list[Outcome]) -> list:
    """One line of the table; the first failures are printed at once."""
    failed = [outcome.failure for outcome in outcomes if outcome.failure]
    for failure in failed[:5]:
        print(f"{label}: {failure}", file=sys.stderr)
    notes = Counter(outcome.note for outcome in outcomes if outcome.note)
    remarks = ", ".join(f"{number:,} {note}" for note, number in sorted(notes.items()))
    return [label, len(outcomes), len(failed), round(max(outcome.seconds for outcome in outcomes), 3), remarks]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="*", metavar="BAR", help=f"of {', '.join(BARS)} (default: each)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--short", action="store_true", help="few trials of each (the default)")
    size.add_argument("--all", action="store_true", help="the full sizes")
    size.add_argument("--count", type=int, help="trials of each bar; of mutants, for each type of file")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trials at a time")
    words = parser.parse_args()
    if unknown := set(words.bars) - BARS.keys():
        parser.error(f"{min(unknown)} is no bar: choose among {', '.join(BARS)}")
    began, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        home = Path(folder)
        home.chmod(0o755)
        warm_up()
        wanted, length = prepare(home)
        with ProcessPoolExecutor(words.processes, multiprocessing.get_context("fork")) as pool:
            for bar in words.bars or BARS:
                rows += measure(pool, bar, words.count or BARS[bar][words.all], home, wanted, length)
    facts = describe()
    print(f"{facts['cores']} cores of {facts['processor']}, commit {facts['commit']}, {words.processes} at a time,")
    print(f"an undisturbed run takes {length:.1f} s; {time.perf_counter() - began:,.0f} s in all")
    print(table(["bar", "tried", "failures", "worst seconds", "remarks"], rows))
    sys.exit(any(failures for _, _, failures, *_ in rows))


if __name__ == "__main__":
    main()
