"""What a stopped run needs to go on as if it had not stopped, kept in a folder beside the checkpoint."""

import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from lstm import checkpoint
from lstm.config import Refused
from lstm.data import Cursor
from lstm.model import State
from lstm.training import Run, check

_FILE = "state.bin"  # a SHA-256, and what torch.save writes
_LARGEST = 2**36  # bytes
_OURS = {"lock", _FILE, f"{_FILE}.new", "tokenizer.model", "ids.bin", "ids.new", "ids.ordered"}


def folder_of(out: Path) -> Path:
    """The folder beside a checkpoint that holds its run. Raises Refused for a path that names no folder."""
    if not out.name or out.name == "..":
        raise Refused(f"{out} has no name of its own: choose another --out, such as checkpoints/mine")
    return out.with_name(out.name + ".run")


def stopped(out: Path) -> bool:
    """Whether there is a run to go on with."""
    return os.path.lexists(folder_of(out) / _FILE)


@contextmanager
def locked(out: Path, resumed: bool) -> Iterator[None]:
    """Hold the run's folder for this process alone. Raises Refused if another run holds it, or it is not a run's.

    A stopped run must be resumed, and only one can be. A folder in which no run was saved is removed in the end.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if foreign := {path.name for path in folder.iterdir()} - _OURS:
            raise Refused(f"{folder} holds {min(foreign)!r}, which is no run's: choose another --out, or move it away")
        lock = open(folder / "lock", "w")  # noqa: SIM115 - held as long as the run, and let go when the process ends
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        checkpoint.recover(out)
    except BlockingIOError:
        raise Refused(f"{out} is being trained by another process: wait, or choose another --out") from None
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): choose another --out") from None
    with lock:
        try:
            if resumed and not stopped(out):
                raise Refused(f"there is no stopped run in {folder}: start one without --resume")
            if stopped(out) and not resumed:
                raise Refused(f"{folder} holds a stopped run: --resume goes on with it, or remove that folder")
            for name in () if resumed else _OURS - {"lock"}:
                (folder / name).unlink(missing_ok=True)
            yield
        finally:
            if not stopped(out):
                shutil.rmtree(folder, ignore_errors=True)


def discard(out: Path) -> None:
    """Remove a run that is done, the state first: without it the rest is no run."""
    (folder_of(out) / _FILE).unlink(missing_ok=True)
    shutil.rmtree(folder_of(out), ignore_errors=True)


def save(run: Run, folder: Path, order: Mapping[str, object]) -> None:
    """Write everything that changes from step to step, whole or not at all. order: what the run was asked for, as JSON.

    Raises Refused on a full disk, and for weights that are not finite, leaving the last save as it was.
    Of several processes the first one writes, for all; of their random states only its own.
    """
    state = [run.workers.gather(part, dim=1) for part in run.state]
    if not run.workers.first:
        return
    check(run)
    content = io.BytesIO(bytes(32))
    content.seek(32)
    torch.save(
        {
            "order": dict(order),
            "model": run.model.state_dict(),
            "average": run.average.state_dict() if run.average else None,
            "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
            "state": state,
            "cursor": tuple(run.lanes.cursor),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "counts": {"step": run.step, "tokens": run.tokens, "seconds": run.seconds, "loss": run.loss},
            "history": run.history,
        },
        content,
    )
    fresh = folder / (_FILE + ".new")
    try:
        with open(fresh, "wb") as file, content.getbuffer() as whole:
            whole[:32] = hashlib.sha256(whole[32:]).digest()
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(folder / _FILE)
        checkpoint.flush(folder)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise Refused(f"{folder} cannot be written ({error.strerror}): make room and go on with --resume") from None


def load(run: Run, folder: Path, order: Mapping[str, object]) -> None:
    """Put a new run where the stopped one was. Raises Refused if it is damaged, or was asked for otherwise."""
    saved = read(folder / _FILE)
    for name, value in order.items():
        if saved["order"].get(name) != value:
            raise Refused(f"{name} is not what the stopped run began with: give its command again, or another --out")
    run.model.load_state_dict(saved["model"])
    if run.average:
        run.average.load_state_dict(saved["average"])
    for optimizer, state in zip(run.optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    device = run.state.hidden.device
    mine = run.workers.share(run.config.lanes)
    run.state = State(*(part[:, mine].to(device) for part in saved["state"]))
    run.lanes.seek(Cursor(*saved["cursor"]))
    torch.set_rng_state(saved["random"])
    if saved["random_cuda"]:
        torch.cuda.set_rng_state_all(saved["random_cuda"])
    for name, value in saved["counts"].items():
        setattr(run, name, value)
    run.history = saved["history"]


def read(file: Path) -> dict:
    """What was saved, after comparing it with its SHA-256: what was altered never reaches the unpickler.

    Raises Refused with one sentence.
    """
    raw = checkpoint.read(file, _LARGEST)
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise Refused(f"{file} is not what was saved: remove {file.parent} and start again")
    try:
        return torch.load(io.BytesIO(raw[32:]), map_location="cpu", weights_only=True)
    except Exception as error:  # of another version of torch
        raise Refused(f"{file} cannot be read ({type(error).__name__}): remove {file.parent}, start again") from None
