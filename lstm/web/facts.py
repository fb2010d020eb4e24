"""What the page says about a model, as plain facts."""

import math
from collections.abc import Iterator

from lstm.checkpoint import Checkpoint
from lstm.config import ModelConfig


def parameters(config: ModelConfig) -> int:
    """How many numbers a model has learnt."""
    return sum(math.prod(shape) for shape in config.weight_shapes.values())


def everything(checkpoint: Checkpoint) -> dict:
    """How a model came to be: its shape, its texts, its training, its scores and its learning curve."""
    known = (
        "command",
        "hardware",
        "precision",
        "corpus",
        "settings",
        "steps",
        "tokens",
        "seconds",
        "history",
        "scores",
    )
    metrics = {name: checkpoint.metrics[name] for name in known if name in checkpoint.metrics}
    shape = checkpoint.config.model_dump()
    return {**of(checkpoint), "shape": shape, "metrics": metrics, "ancestors": list(_ancestors(checkpoint.metrics))}


def _ancestors(metrics: dict) -> Iterator[dict[str, str | int | float]]:
    """What a model began from, the nearest first: how much each had read, and for how long it was trained."""
    while parent := metrics.get("parent"):
        metrics = parent["metrics"]
        amount = {"texts": len(metrics["corpus"]), "bytes": sum(document["bytes"] for document in metrics["corpus"])}
        yield {"name": parent["name"], **amount, **{name: metrics[name] for name in ("steps", "tokens", "seconds")}}


def of(checkpoint: Checkpoint) -> dict[str, str | int | float]:
    """Name, size and bits per byte of a model; the score is left out where its metrics hold none."""
    about = {"name": checkpoint.path.name, "parameters": parameters(checkpoint.config), "digest": checkpoint.digest}
    scores = checkpoint.metrics.get("scores") or {}
    for text in ("test", "valid"):
        if score := scores.get(text):
            return {**about, "bits_per_byte": score["bits_per_byte"], "scored_on": text}
    return about
