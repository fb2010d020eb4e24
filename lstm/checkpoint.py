"""A checkpoint is a folder that is written whole or not at all, and is verified before it is believed."""

import hashlib
import json
import os
import shutil
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
_LARGEST = 2**31  # bytes of one file


@dataclass(frozen=True)
class Checkpoint:
    """A verified folder: where it is, the model's shape, its tokenizer, its metrics and the SHA-256 of its manifest."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    metrics: dict
    digest: str

    def files(self) -> dict[str, bytes]:
        """What the manifest lists, by name. Raises Refused for a file that cannot be read."""
        return {name: _read(self.path / name) for name in json.loads(_read(self.path / MANIFEST))["sha256"]}

    def weights(self) -> dict[str, np.ndarray]:
        """The weights by name, float32. Raises Refused if one is missing, misshapen or not finite."""
        try:
            tensors = safetensors.numpy.load((self.path / "model.safetensors").read_bytes())
        except (OSError, safetensors.SafetensorError) as error:
            raise Refused(
                f"{self.path}/model.safetensors cannot be read ({error}): train the checkpoint again"
            ) from None
        for name, values in tensors.items():
            if not np.isfinite(values).all():
                raise Refused(f"{self.path}/model.safetensors: {name} holds values that are not finite: train it again")
        return {name: values.astype(np.float32) for name, values in tensors.items()}


def load(folder: str | Path) -> Checkpoint:
    """Open a checkpoint after comparing every file with the manifest. Raises Refused with one sentence."""
    path = Path(folder)
    if not path.is_dir():
        raise Refused(f"there is no checkpoint at {path}: make one with 'python train.py --out {path}'")
    raw = _read(path / MANIFEST)
    try:
        digests = json.loads(raw)["sha256"]
        wanted = {"config.json", "model.safetensors", "tokenizer.model", "metrics.json"}
        if missing := wanted - digests.keys():
            raise Refused(f"{path}/{MANIFEST} does not list {', '.join(sorted(missing))}: train the checkpoint again")
        for name, digest in digests.items():
            if Path(name).name != name or hashlib.sha256(_read(path / name)).hexdigest() != digest:
                raise Refused(
                    f"{path}/{name} is not the file that was saved: restore it, or train the checkpoint again"
                )
        return Checkpoint(
            path=path,
            config=ModelConfig.model_validate_json(_read(path / "config.json")),
            tokenizer=Tokenizer(_read(path / "tokenizer.model")),
            metrics=json.loads(_read(path / "metrics.json")),
            digest=hashlib.sha256(raw).hexdigest(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, Refused):
            raise
        reason = "wrong settings" if isinstance(error, ValidationError) else type(error).__name__
        raise Refused(f"{path} is not a checkpoint of this program ({reason}): train it again") from None


def save(folder: str | Path, files: Mapping[str, bytes], replace: bool = False) -> None:
    """Write a checkpoint's files and their manifest in one move. Raises Refused, leaving what was there untouched.

    Everything is written and flushed beside the folder first, so a full disk or a kill leaves the old one whole.
    """
    path = Path(folder)
    if path.exists() and not replace:
        raise Refused(f"{path} exists: choose another --out, or move it away")
    manifest = {"sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}}
    everything = {**files, MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n"}
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        fresh.chmod(0o755)
        for name, content in everything.items():
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _flush(fresh)
        _swap(fresh, path)
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}): make room or choose another --out") from None
    finally:
        if fresh:
            shutil.rmtree(fresh, ignore_errors=True)


def _swap(fresh: Path, path: Path) -> None:
    """Put a finished folder in another's place; the old one is removed only after the new one stands."""
    old = path.with_name(f".{path.name}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    _flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise Refused(f"{path} is larger than any file of a checkpoint: restore it")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}): restore it, or train the checkpoint again") from None
