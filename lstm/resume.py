"""What a stopped run needs to go on as if it had not stopped, kept in a folder beside the checkpoint."""

import fcntl
import hashlib
import io
import json
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
from lstm.texts import Texts
from lstm.tokenizer import Tokenizer
from lstm.training import Run, check

_FILE = "state.bin"  # a SHA-256, and what torch.save writes
_LARGEST = 2**36  # bytes
_FORM = 2  # counted up whenever what is saved changes
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


def describe(run: Run, texts: Texts, tokenizer: Tokenizer, folder: Path, parent: dict | None) -> dict:
    """What a run is made of, as JSON: resuming must find it all again, but for how long to train, and where."""
    free = {"minutes", "steps", "evaluations", "save_every", "device"}
    files = {"tokenizer.model": hashlib.sha256(tokenizer.model).hexdigest()}
    if (path := folder / "ids.bin").exists():
        with open(path, "rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        **run.config.model_dump(exclude=free),
        **run.model.config.model_dump(),
        "corpus": list(texts.described),
        "valid": hashlib.sha256(texts.valid.encode()).hexdigest(),
        "from": parent and parent["sha256"],
        **files,
    }


def compare(run: Run, asked: dict) -> None:
    """Raise Refused unless all processes were asked for the same, read the same texts and compute in the same way."""
    computing = {"precision": str(run.dtype), "device": run.state.hidden.device.type}
    mine = asked | run.config.model_dump() | computing
    first, *others = map(json.loads, run.workers.collect(json.dumps(mine).encode()))
    for name, value in first.items():
        if any(other.get(name) != value for other in others):
            raise Refused(f"{name} is not the same for all processes: give each machine the same command and texts")


def save(run: Run, folder: Path, order: Mapping[str, object]) -> None:
    """Write everything that changes from step to step, whole or not at all. order: what the run was asked for, as JSON.

    Raises Refused on a full disk, and for weights that are not finite, leaving the last save as it was.
    Of several processes the first one writes, for all: their lanes' states and what each draws from.
    """
    state = [run.workers.gather(part, dim=1) for part in run.state]
    on_cuda = run.state.hidden.device.type == "cuda"
    random = run.workers.gather(torch.get_rng_state()[None], dim=0)  # a row for each process
    random_cuda = run.workers.gather(torch.cuda.get_rng_state()[None], dim=0) if on_cuda else None
    with run.workers.together():
        if run.workers.first:
            check(run)
            content = {
                "form": _FORM,
                "order": dict(order),
                "model": run.model.state_dict(),
                "average": run.average.state_dict() if run.average else None,
                "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
                "state": state,
                "cursor": tuple(run.lanes.cursor),
                "random": random,
                "random_cuda": random_cuda,
                "counts": {"step": run.step, "tokens": run.tokens, "seconds": run.seconds, "loss": run.loss},
                "history": run.history,
            }
            _write(folder, content)


def _write(folder: Path, content: dict) -> None:
    """Put a state in the place of the one before it, behind its SHA-256. Raises Refused on a full disk."""
    stream = io.BytesIO(bytes(32))
    stream.seek(32)
    torch.save(content, stream)
    fresh = folder / (_FILE + ".new")
    try:
        with open(fresh, "wb") as file, stream.getbuffer() as whole:
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
    """Put a new run where the stopped one was; of several processes the first one reads, for all.

    Raises Refused if it is damaged, or was asked for otherwise.
    """
    with run.workers.together():
        raw = read(folder / _FILE) if run.workers.first else b""
    raw = run.workers.give(raw)
    with run.workers.together():
        _restore(run, _content(raw, folder), order)


def _restore(run: Run, saved: dict, order: Mapping[str, object]) -> None:
    for name, value in order.items():
        if saved["order"].get(name) != value:
            raise Refused(f"{name} is not what the stopped run began with: give its command again, or another --out")
    run.model.load_state_dict(saved["model"])
    if run.average:
        run.average.load_state_dict(saved["average"])
    for optimizer, state in zip(run.optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    device, rank = run.state.hidden.device, run.workers.rank
    mine = run.workers.share(run.config.lanes)
    run.state = State(*(part[:, mine].to(device) for part in saved["state"]))
    run.lanes.seek(Cursor(*saved["cursor"]))
    if rank < len(saved["random"]):  # of more processes than before, the new ones begin with their own seeds
        torch.set_rng_state(saved["random"][rank].clone())
        if device.type == "cuda" and saved["random_cuda"] is not None:
            torch.cuda.set_rng_state(saved["random_cuda"][rank].clone())
    for name, value in saved["counts"].items():
        setattr(run, name, value)
    run.history = saved["history"]


def read(file: Path) -> bytes:
    """What was saved, after comparing it with its SHA-256: what was altered never reaches the unpickler.

    Raises Refused with one sentence.
    """
    raw = checkpoint.read(file, _LARGEST)
    if hashlib.sha256(raw[32:]).digest() != raw[:32]:
        raise Refused(f"{file} is not what was saved: remove {file.parent} and start again")
    return raw[32:]


def _content(raw: bytes, folder: Path) -> dict:
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # of another version of torch
        reason = type(error).__name__
        raise Refused(f"{folder / _FILE} cannot be read ({reason}): remove {folder}, start again") from None
    if content.get("form") != _FORM:
        raise Refused(f"{folder / _FILE} is of another version of this program: go on with that, or remove {folder}")
    return content
