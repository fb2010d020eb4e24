"""What a model repository and a Space of the Hugging Face Hub hold, put together in a folder."""

import re
import shutil
from pathlib import Path

import yaml

from lstm import checkpoint
from lstm.checkpoint import Checkpoint
from lstm.config import Refused

ROOT = Path(__file__).parent.parent
SERVING = "requirements-serving.txt"
ZERO_GPU_REQUIREMENT = "spaces==0.51.3"
PLACE = """\
import os

os.environ.setdefault("CHECKPOINT", "checkpoints/{name}")  # what this Space was published with

"""
ZERO_GPU = """\
import spaces  # before gradio, or it finds no Space


@spaces.GPU
def nothing() -> None:
    \"\"\"ZeroGPU hosts what has a function for the GPU. This model runs on the processor, and nobody calls it.\"\"\"


"""
SPACE = """\
# {title}

A subword LSTM language model writes while you watch, and shows how its cells remember. This Space was made by
`python -m lstm publish space` from the checkpoint `{name}`; its [model card](checkpoints/{name}/README.md) tells how it
was trained and how well it reads. Programs may call the page too: see "From a program" in the Model room.
"""


def model(opened: Checkpoint, repository: str, target: Path) -> None:
    """Write a model repository: the checkpoint, its card with the scores in the Hub's own metadata (model-index).

    The card is another file then, so the manifest is written anew. Raises Refused where the target exists.
    """
    title, files = _begin(repository, target), opened.files()
    known, body = _split(files.get("README.md", b"").decode())
    results = [_result(name, score) for name, score in (opened.metrics.get("scores") or {}).items()]
    index = {"model-index": [{"name": title, "results": results}]} if results else {}
    card = _front_matter({**known, **index}) + body
    checkpoint.save(target, files | {"README.md": card.encode()})


def space(opened: Checkpoint, repository: str, target: Path, zero_gpu: bool = False) -> None:
    """Write a Space: the code, the checkpoint, a README with front matter, the requirements of serving alone.

    zero_gpu: the variant that ZeroGPU hosts. Raises Refused where the target exists, and for a checkpoint without the
    graph that serves it.
    """
    title, name, files = _begin(repository, target), opened.path.name, opened.files()
    if "model.onnx" not in files:
        raise Refused(f"{opened.path} has no model.onnx: add it with 'python -m lstm export {opened.path}'")
    checkpoint.save(target / "checkpoints" / name, files)
    shutil.copytree(ROOT / "lstm", target / "lstm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", target)
    requirements = (ROOT / SERVING).read_text(encoding="utf-8")
    page = (ROOT / "app.py").read_text(encoding="utf-8")
    place = PLACE.format(name=name)
    if zero_gpu:
        requirements, place = f"{requirements}{ZERO_GPU_REQUIREMENT}\n", place + ZERO_GPU
    (target / "requirements.txt").write_text(requirements, encoding="utf-8")
    (target / "app.py").write_text(place + page, encoding="utf-8")
    facts = {
        "title": title,
        "emoji": "🐺",
        "colorFrom": "green",
        "colorTo": "yellow",
        "sdk": "gradio",
        "sdk_version": re.search(r"gradio==(\S+)", requirements)[1],
        "python_version": "3.12",
        "app_file": "app.py",
        "license": "mit",
        "short_description": "Watch a subword LSTM write, and look inside",
        "tags": ["lstm", "text-generation", "sentencepiece", "interpretability"],
    }
    text = _front_matter(facts) + "\n" + SPACE.format(title=title, name=name)
    (target / "README.md").write_text(text, encoding="utf-8")


def _begin(repository: str, target: Path) -> str:
    """The repository's own name. Raises Refused for one that is no name on the Hub, and where the target exists."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise Refused(f"{repository} is no name on the Hub: give OWNER/NAME")
    if target.exists():
        raise Refused(f"{target} exists: choose another folder, or move it away")
    return repository.split("/")[-1]


def _result(name: str, score: dict) -> dict:
    """One text's scores as the Hub's metadata has them."""
    values = [("Bits per UTF-8 byte", "bits_per_byte"), ("Perplexity per piece", "perplexity")]
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"{name} ({score['bytes']:,} bytes)", "type": "text", "split": name},
        "metrics": [{"type": kind, "name": title, "value": round(score[kind], 4)} for title, kind in values],
    }


def _split(card: str) -> tuple[dict, str]:
    """A card's front matter and what follows it."""
    if found := re.match(r"---\n(.*?\n)---\n", card, re.DOTALL):
        return yaml.safe_load(found[1]) or {}, card[found.end() :]
    return {}, "\n" + card


def _front_matter(facts: dict) -> str:
    return f"---\n{yaml.safe_dump(facts, allow_unicode=True, sort_keys=False)}---\n"
