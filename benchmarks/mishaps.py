"""Runs of the real train.py that meet a mishap: killed, asked to stop, or with a disk that fails; then gone on with.

Each is a process of its own, forked from one that has imported torch already.
"""

import json
import os
import random
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from mutants import Outcome

import train
from lstm import arguments, checkpoint

WORDS = shlex.split(
    "--preset tiny --vocab-size 320 --embedding-size 16 --hidden-size 16 --lanes 4 --window 16 --steps 16"
    " --evaluations 2 --average 0.9 --dropout-input 0.2 --dropout-recurrent 0.1 --save-every 0 --device cpu"
)
HANGS = 300  # seconds


class Ended(NamedTuple):
    """How a run ended: its status (minus the signal that killed it), what it said, seconds since it began."""

    status: int
    said: str
    complained: str
    seconds: float


class Running:
    """A run at work."""

    def __init__(self, words: list[str], before: Callable[[], None] = lambda: None):
        """words: of train.py's command line; before: called in its process before anything else."""
        self.began = time.perf_counter()
        (self._out, out), (self._err, err) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.dup2(out, 1)
            os.dup2(err, 2)
            status = 1
            with suppress(BaseException):
                status = _train(words, before)
            os._exit(status)
        os.close(out)
        os.close(err)

    def alive(self) -> bool:
        """Whether it still runs: its end of the pipe is closed when it does not."""
        poll = select.poll()
        poll.register(self._err, select.POLLHUP)
        return not any(event & select.POLLHUP for _, event in poll.poll(0))

    def end(self, number: int = 0) -> Ended:
        """Send a signal, 0 for none, and wait. A run that hangs is killed."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        until = time.monotonic() + HANGS
        while self.alive():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        said, complained = (_everything(pipe) for pipe in (self._out, self._err))
        return Ended(status, said, complained, time.perf_counter() - self.began)


def _everything(pipe: int) -> str:
    with open(pipe, "rb") as file:
        return file.read().decode("utf-8", "replace")


def _train(words: list[str], before: Callable[[], None]) -> int:
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
    before()
    sys.argv = ["train.py", *words]
    try:
        arguments.run(train.main)
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def command(home: Path, out: Path) -> list[str]:
    """The command line of a run."""
    return [*WORDS, "--corpus", f"{home}/train.txt", "--valid", f"{home}/valid.txt", "--out", str(out)]


def result(out: Path) -> str:
    """Everything about a finished checkpoint that does not depend on the clock, as one digest."""
    opened = checkpoint.load(out)
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in opened.metrics["history"]]
    parts = [opened.read(name) for name in ("model.safetensors", "model.onnx", "tokenizer.model")]
    parts.append(json.dumps([history, opened.metrics["scores"], opened.metrics["steps"]]).encode())
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


def _go_on(home: Path, out: Path, wanted: str) -> str:
    """Resume a run to its end; why that failed, "" if it came to the wanted result and left nothing else behind."""
    stopped = out.with_name(out.name + ".run") / "state.bin"
    if out.exists():
        checkpoint.load(out).weights()
    if stopped.exists() or not out.exists():
        ended = Running([*command(home, out), *["--resume"] * stopped.exists()]).end()
        if ended.status:
            return f"going on: status {ended.status}, {ended.complained[-300:]}"
    if result(out) != wanted:
        return "other weights"
    rest = {path.name for path in out.parent.iterdir()} - {out.name}
    return f"left behind: {', '.join(sorted(rest))}" if rest else ""


@contextmanager
def _place(home: Path, name: str):
    folder = home / name
    folder.mkdir()
    try:
        yield folder / "out"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_a_save(folder: Path) -> bool:
    names = [entry.name for place in (folder, folder / "out.run") if place.is_dir() for entry in os.scandir(place)]
    return any(name.endswith((".part", ".new")) for name in names)


def killed(home: Path, wanted: str, length: float, seed: int) -> Outcome:
    """kill -9 at a random moment, every other time in the next save from there on."""
    draw = random.Random(seed)
    with _place(home, f"kill-{seed}") as out:
        running = Running(command(home, out))
        time.sleep(draw.uniform(0, length))
        while seed % 2 and running.alive() and not _in_a_save(out.parent):
            time.sleep(5e-5)
        ended = running.end(signal.SIGKILL)
        note = "in a save" if _in_a_save(out.parent) else "" if ended.status else "too late"
        began = time.perf_counter()
        return Outcome(_try(lambda: _go_on(home, out, wanted)), time.perf_counter() - began, note)


def asked_to_stop(home: Path, wanted: str, length: float, seed: int) -> Outcome:
    """SIGINT or SIGTERM at a random moment after the first save: it says how to go on. Seconds are those to its end."""
    draw = random.Random(seed)
    with _place(home, f"signal-{seed}") as out:
        running = Running(command(home, out))
        while running.alive() and not (out.parent / "out.run" / "state.bin").exists():
            time.sleep(1e-3)
        time.sleep(draw.uniform(0, 0.6 * length))
        asked = time.perf_counter()
        ended = running.end((signal.SIGINT, signal.SIGTERM)[seed % 2])
        seconds = time.perf_counter() - asked
        if "is ready" in ended.said:
            return Outcome("" if ended.status == 0 else f"status {ended.status}", 0.0, "too late")
        if ended.status not in (0, 130) or "--resume" not in ended.said:
            return Outcome(
                f"status {ended.status} after {seconds:.1f} s: {ended.said[-200:]}{ended.complained}", seconds
            )
        return Outcome(_try(lambda: _go_on(home, out, wanted)), seconds, "over 5 s" if seconds > 5 else "")


def disk_failed(home: Path, wanted: str, length: float, seed: int) -> Outcome:
    """A disk that is full, writes short or is read-only: one sentence, the last save loads, and the run goes on."""
    draw = random.Random(seed)
    kinds = _faults()
    kind = sorted(kinds)[seed % len(kinds)]
    with _place(home, f"disk-{seed}") as out, kinds[kind](out.parent, draw, length) as (before, meanwhile):
        running = Running(command(home, out), before)
        meanwhile()
        ended = running.end()
        if ended.status == 0:
            return Outcome("", 0.0, f"{kind}, too late")
        if ended.status != 2 or len(ended.complained.strip().splitlines()) != 1:
            return Outcome(f"{kind}: status {ended.status}, {ended.complained[-300:]}", ended.seconds, kind)
        meanwhile(mend=True)
        return Outcome(_try(lambda: _go_on(home, out, wanted)), ended.seconds, kind)


@contextmanager
def _short_write(_folder: Path, draw: random.Random, _length: float):
    """No file grows beyond a random size: the kernel writes up to there and refuses the rest."""
    size = draw.randrange(2_000, 200_000)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)), lambda mend=False: None


@contextmanager
def _full_disk(folder: Path, draw: random.Random, _length: float):
    """A small file system in memory."""
    _mount("-t", "tmpfs", "-o", f"size={draw.randrange(20, 600)}k", "tmpfs", folder)
    try:
        yield lambda: None, lambda mend=False: _mount("-o", "remount,size=64m", folder) if mend else None
    finally:
        _unmount(folder)


@contextmanager
def _read_only(folder: Path, draw: random.Random, length: float):
    """From a random moment on nothing can be written: by permissions, which do not bind the superuser, or a mount."""
    superuser = os.geteuid() == 0

    def meanwhile(mend: bool = False) -> None:
        if not mend:
            time.sleep(draw.uniform(0, length))
        if not superuser:
            for place in (folder, folder / "out.run"):
                with suppress(FileNotFoundError):
                    place.chmod(0o755 if mend else 0o555)
        elif mend:
            _unmount(folder)
        else:
            _mount("--bind", folder, folder)
            until = time.monotonic() + 10  # while a file is being written it is refused
            while subprocess.run(["mount", "-o", "remount,bind,ro", folder], capture_output=True).returncode:
                assert time.monotonic() < until
                time.sleep(1e-3)

    try:
        yield lambda: None, meanwhile
    finally:
        while superuser and f" {folder} " in Path("/proc/self/mounts").read_text():  # is_mount() sees no bind mount
            _unmount(folder)


@cache
def _faults() -> dict[str, Callable]:
    """The faults that can be made here: as a person all but a full disk, as the superuser all if it may mount."""
    kinds = {"short write": _short_write}
    if os.geteuid():
        return kinds | {"read-only": _read_only}
    with tempfile.TemporaryDirectory() as folder, suppress(subprocess.CalledProcessError):
        _mount("-t", "tmpfs", "tmpfs", folder)
        _unmount(folder)
        kinds |= {"full disk": _full_disk, "read-only": _read_only}
    return kinds


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def _unmount(folder: str | Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _try(work: Callable[[], str]) -> str:
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
