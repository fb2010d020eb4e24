"""A checkpoint is a folder that is written whole or not at all, and is verified before it is believed."""

import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import ValidationError

from lstm.config import ModelConfig, Refused
from lstm.tokenizer import Tokenizer

MANIFEST = "manifest.json"
_NEEDED = {"config.json", "model.safetensors", "tokenizer.model", "metrics.json"}
_OURS = _NEEDED | {"model.onnx", "curve.png", "README.md"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # never another folder's file
_LARGEST = {"model.safetensors": 2**31, "model.onnx": 2**31}  # bytes
_LARGEST_OTHER = 2**26


@dataclass(frozen=True)
class Checkpoint:
    """A verified folder: where it is, the model's shape, its tokenizer, its metrics and the SHA-256 of its manifest."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    metrics: dict
    digest: str
    listed: Mapping[str, str]  # the SHA-256 of each file

    def read(self, name: str) -> bytes:
        """A listed file, compared with the manifest as it was when the checkpoint was opened. Raises Refused."""
        return _verified(self.path / name, self.listed[name])

    def files(self) -> dict[str, bytes]:
        """What the manifest lists, by name. Raises Refused for a file that is no longer what it was."""
        return {name: self.read(name) for name in self.listed}

    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name, float32. Raises Refused if one is missing, misshapen or not finite."""
        file = self.path / "model.safetensors"
        try:
            tensors = safetensors.numpy.load(self.read(file.name))
        except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused(f"{file} cannot be read ({type(error).__name__}): train the checkpoint again") from None
        if {name: values.shape for name, values in tensors.items()} != self.config.weight_shapes:
            raise Refused(f"{file}: the weights do not fit config.json, train the checkpoint again")
        for name, values in tensors.items():
            if values.dtype not in (np.float16, np.float32) or not np.isfinite(values).all():
                raise Refused(f"{file}: {name} holds values that are not finite numbers, train the checkpoint again")
        return {name: values.astype(np.float32) for name, values in tensors.items()}


def load(folder: str | Path) -> Checkpoint:
    """Open a checkpoint after comparing every file with the manifest. Raises Refused with one sentence.

    A file that is not listed is never opened. Nothing that is read here or later can run code.
    """
    path = Path(folder)
    if not os.path.isdir(path):  # also False for what cannot be looked at, where Path.is_dir raises
        raise Refused(f"there is no checkpoint at {path}: make one with 'python train.py --out {path}'")
    raw = _read(path / MANIFEST)
    listed = _listed(path, raw)
    found = {name: _verified(path / name, digest) for name, digest in listed.items() if name not in _LARGEST}
    for name in listed.keys() & _LARGEST.keys():
        _verified(path / name, listed[name])  # read again when it is used
    try:
        config = ModelConfig.model_validate_json(found["config.json"])
        tokenizer = Tokenizer(found["tokenizer.model"])
        metrics = dict(json.loads(found["metrics.json"]))
        json.dumps(metrics, allow_nan=False)
    except Exception as error:  # what was forged with its digest fails in many ways
        reason = "wrong settings" if isinstance(error, ValidationError) else type(error).__name__
        raise Refused(f"{path} is not a checkpoint of this program ({reason}): train it again") from None
    if tokenizer.vocab_size != config.vocab_size:
        pieces = f"{tokenizer.vocab_size:,} pieces, the model {config.vocab_size:,}"
        raise Refused(f"{path}: the tokenizer has {pieces}: train the checkpoint again")
    return Checkpoint(path, config, tokenizer, metrics, hashlib.sha256(raw).hexdigest(), listed)


def save(folder: str | Path, files: Mapping[str, bytes], replace: bool = False) -> None:
    """Write a checkpoint's files and their manifest in one move. Raises Refused, leaving what was there untouched.

    Everything is written and flushed beside the folder first, so a full disk or a kill leaves the old one whole.
    """
    path = Path(os.path.realpath(folder))  # of a link, the folder it leads to
    if os.path.lexists(path) and not replace:
        raise Refused(f"{path} exists: choose another --out, or move it away")
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        fresh.chmod(0o755)
        for name, content in {**files, MANIFEST: manifest(listed)}.items():
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        flush(fresh)
        _swap(fresh, path)
        flush(path.parent)
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}): make room or choose another --out") from None
    finally:
        if fresh:
            shutil.rmtree(fresh, ignore_errors=True)


def recover(folder: Path) -> None:
    """Remove what a kill in the midst of a save left beside a checkpoint. Only for the one process that writes it."""
    path = Path(os.path.realpath(folder))
    part = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    if _aside(path).exists() and not path.exists():
        _aside(path).rename(path)
    for rest in path.parent.iterdir():
        if part.fullmatch(rest.name):
            shutil.rmtree(rest, ignore_errors=True)


def manifest(listed: Mapping[str, str]) -> bytes:
    """A manifest's one form, from the SHA-256 of each file."""
    return json.dumps({"sha256": dict(sorted(listed.items()))}, indent=1).encode() + b"\n"


def flush(folder: Path) -> None:
    """Have the disk remember which files a folder holds. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, largest: int) -> bytes:
    """A file's bytes. Raises Refused for one that is too large, and for a pipe or device, which might never end."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise Refused(f"{path} is not a file: restore it, or train the checkpoint again")
            if about.st_size > largest:
                raise Refused(f"{path} is larger than such a file can be: restore it, or train the checkpoint again")
            return file.read()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}): restore it, or train the checkpoint again") from None


def _swap(fresh: Path, path: Path) -> None:
    """Put a finished folder in another's place; the old one is then where the finished one was.

    Linux lets them change places in one step. Elsewhere a kill between two steps leaves the old one aside.
    """
    if not path.exists():
        fresh.rename(path)
        return
    try:
        _exchange(fresh, path)
    except (OSError, AttributeError):
        path.rename(_aside(path))
        try:
            fresh.rename(path)
        except OSError:
            _aside(path).rename(path)
            raise
        _aside(path).rename(fresh)


def _exchange(one: Path, other: Path) -> None:
    """renameat2(2) with RENAME_EXCHANGE. Raises OSError or AttributeError where the system does not have it."""
    here, exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _listed(path: Path, raw: bytes) -> dict[str, str]:
    """The SHA-256 of each file that a manifest lists. Raises Refused unless it is, byte for byte, as save writes it."""
    try:
        listed = json.loads(raw)["sha256"]
        whole = raw == manifest(listed) and all(map(_NAME.fullmatch, listed))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise Refused(f"{path}/{MANIFEST} is not as it was saved: restore it, or train the checkpoint again")
    unlisted = {name for name in _OURS if name in _NEEDED or os.path.lexists(path / name)} - listed.keys()
    if unlisted:
        raise Refused(f"{path}/{MANIFEST} does not list {', '.join(sorted(unlisted))}: train the checkpoint again")
    return listed


def _read(path: Path) -> bytes:
    return read(path, _LARGEST.get(path.name, _LARGEST_OTHER))


def _verified(path: Path, digest: str) -> bytes:
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise Refused(f"{path} is not the file that was saved: restore it, or train the checkpoint again")
    return content
