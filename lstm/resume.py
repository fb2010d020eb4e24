"""What a stopped run needs to go on as if it had not stopped, kept in a folder beside the checkpoint."""

import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lstm.config import Refused
from lstm.data import Cursor
from lstm.model import State
from lstm.training import Run

_FILE = "state.pt"


def folder_of(out: Path) -> Path:
    """The folder beside a checkpoint that holds its run."""
    return out.with_name(out.name + ".run")


@contextmanager
def locked(out: Path, resumed: bool) -> Iterator[None]:
    """Hold the run's folder for this process alone. Raises Refused if another run holds it.

    A stopped run is refused unless it is resumed. A folder in which no run was saved is removed in the end.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 - held as long as the run
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): choose another --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"{out} is being trained by another process: wait, or choose another --out") from None
        if not resumed:
            if (folder / _FILE).exists():
                raise Refused(f"{folder} holds a stopped run: --resume goes on with it, or remove that folder")
            for file in set(folder.iterdir()) - {folder / "lock"}:
                file.unlink()
        try:
            yield
        finally:
            if folder.exists() and not (folder / _FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)


def save(run: Run, folder: Path) -> None:
    """Write everything that changes from step to step, whole or not at all. Raises Refused on a full disk.

    Of several processes the first one writes, for all; of their random states only its own.
    """
    state = [run.workers.gather(part, dim=1) for part in run.state]
    if not run.workers.first:
        return
    content = io.BytesIO()
    torch.save(
        {
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
        with open(fresh, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(folder / _FILE)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Refused(f"{folder} cannot be written ({error.strerror}): make room and go on with --resume") from None


def load(run: Run, folder: Path) -> None:
    """Put a new run where the stopped one was. Raises Refused if there is nothing to go on from."""
    try:
        saved = torch.load(folder / _FILE, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Refused(f"there is no stopped run in {folder}: start one without --resume") from None
    except Exception as error:  # a damaged file fails in many ways
        raise Refused(f"{folder / _FILE} cannot be read ({type(error).__name__}): start again") from None
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
