"""Checkpoints on the Hugging Face Hub: a name becomes a folder here, and a folder goes there in one commit."""

import json
import re
from pathlib import Path

from lstm.config import Refused

_NAME = re.compile(r"([\w.-]+)/([\w.-]+)(?:@([\w./-]+))?", re.ASCII)
_FILES = ["*.json", "model.safetensors", "model.onnx", "tokenizer.model", "README.md", "curve.png"]  # of a checkpoint
_LOG_IN = "check the name, or log in with 'hf auth login'"


def folder(name: str | Path) -> Path:
    """Where a checkpoint lies: a folder's own path, or a copy of what the Hub has under OWNER/NAME[@REVISION].

    It is a folder's path where there is such a folder, or one called OWNER. The copy is renewed when the Hub has
    something newer, and serves as it is when the Hub cannot be reached; checkpoint.load compares it with its manifest.
    Raises Refused for a name or a revision that the Hub does not show, and for one that is neither here nor reachable.
    """
    found = _NAME.fullmatch(str(name))
    if not found or Path(name).exists() or Path(found[1]).is_dir():
        return Path(name)
    from huggingface_hub import constants, errors, snapshot_download  # half a second that a folder need not wait for

    owner, repository, revision = found.groups()
    label = f"{repository}@{revision}" if revision else repository
    copy = Path(constants.HF_HOME, "jungle-lstm", owner, label.replace("/", "-"))  # a revision may be refs/pr/1
    try:
        snapshot_download(f"{owner}/{repository}", revision=revision, local_dir=copy, allow_patterns=_FILES)
    except errors.RevisionNotFoundError:
        raise Refused(
            f"{owner}/{repository} has no revision {revision} on the Hub: leave it out for the latest"
        ) from None
    except errors.RepositoryNotFoundError:
        raise Refused(f"there is no folder {name}, and no such model on the Hub that you may read: {_LOG_IN}") from None
    except errors.LocalEntryNotFoundError:
        raise Refused(f"{name} is not here yet and {constants.ENDPOINT} cannot be reached: try again later") from None
    except Exception as error:  # the Hub's library has no common class of errors
        raise _refusal(f"{name} cannot be fetched", error) from None
    _drop_others(copy)
    return copy


def _drop_others(copy: Path) -> None:
    """Remove what an earlier revision had and this one has not: a checkpoint is no more than its manifest lists."""
    try:
        listed = json.loads((copy / "manifest.json").read_bytes())["sha256"]
        for file in copy.iterdir():
            if file.is_file() and file.name not in {"manifest.json", *listed}:
                file.unlink()
    except (OSError, ValueError, LookupError, TypeError):
        return  # it is no checkpoint, which loading it will say


def push(source: Path, name: str, kind: str, sdk: str | None = None, hardware: str | None = None) -> str:
    """Make what OWNER/NAME holds on the Hub be what a folder holds, in one commit, and return its address.

    kind: model or space; the repository is made where there is none yet, a Space with its sdk and hardware.
    Raises Refused, with the Hub's reason.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        address = hub.create_repo(name, repo_type=kind, space_sdk=sdk, space_hardware=hardware, exist_ok=True)
        hub.upload_folder(folder_path=source, repo_id=name, repo_type=kind, delete_patterns="*")
    except Exception as error:  # the Hub's library has no common class of errors
        raise _refusal(f"{name} cannot be published", error) from None
    return str(address)


def _refusal(what: str, error: Exception) -> Refused:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return Refused(f"{what} ({reason[-1]}): {_LOG_IN}")
