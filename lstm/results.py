"""What a run leaves behind: a checkpoint's files, with metrics, a learning curve and a model card."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.numpy
import torch

from lstm import card, checkpoint, figures
from lstm.evaluation import evaluate
from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer
from lstm.training import Run


def hardware(device: torch.device) -> str:
    """The processor's name and core count, or the GPU's, with torch's version."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    return f"{os.cpu_count()} cores of {name}, torch {torch.__version__}"


def metrics(run: Run, documents: Sequence[dict], parent: dict | None) -> dict:
    """How the weights came to be: command, hardware, texts, settings, counts, history. JSON types only."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "hardware": hardware(run.state.hidden.device),
        "precision": str(run.dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "corpus": list(documents),
        "parent": parent,
        "settings": run.config.model_dump(),
        "steps": run.step,
        "tokens": run.tokens,
        "seconds": round(run.seconds, 1),
        "history": run.history,
        "scores": {},
    }


def weight_bytes(model: LanguageModel) -> bytes:
    """The weights in half precision, in safetensors' format."""
    tensors = {name: p.detach().to("cpu", torch.float16).numpy() for name, p in model.state_dict().items()}
    return safetensors.numpy.save(tensors)


def write(
    out: Path,
    model: LanguageModel,
    tokenizer: Tokenizer,
    facts: dict,
    samples: Mapping[float, str] | None = None,
    graph: bytes = b"",
) -> None:
    """Put a checkpoint in the folder, in the place of an earlier one of the same run. Raises Refused on a full disk."""
    files = {
        "config.json": (model.config.model_dump_json(indent=1) + "\n").encode(),
        "model.safetensors": weight_bytes(model),
        "tokenizer.model": tokenizer.model,
        "metrics.json": (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode(),
        "curve.png": figures.learning_curves({out.name: facts["history"]}),
        "README.md": card.model_card(out.name, model.config, facts, samples or {}).encode(),
    }
    if graph:
        files["model.onnx"] = graph
    checkpoint.save(out, files, replace=True)


def score(model: LanguageModel, tokenizer: Tokenizer, valid: str, test: str) -> dict:
    """Scores of the validation text and, read after it, of the test text, by name."""
    scores = {"valid": evaluate(model, tokenizer, valid).as_dict()}
    if test:
        scores["test"] = evaluate(model, tokenizer, test, context=valid).as_dict()
    return scores


def open_checkpoint(folder: str | Path) -> tuple[Tokenizer, LanguageModel]:
    """The tokenizer and the model of a checkpoint, ready to read. Raises Refused with one sentence."""
    saved = checkpoint.load(folder)
    weights = {name: torch.from_numpy(values) for name, values in saved.weights().items()}
    model = LanguageModel(saved.config)
    model.load_state_dict(weights)
    return saved.tokenizer, model.eval()
