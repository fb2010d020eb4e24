"""Who moves which weight, and how fast: Muon and AdamW, a schedule, and a rate of its own for every depth."""

import math
from collections.abc import Iterator

import torch
from torch.optim import Optimizer

from lstm.config import TrainConfig
from lstm.model import LanguageModel


def make_optimizers(model: LanguageModel, config: TrainConfig) -> list[Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside, AdamW for the embedding and the biases.

    Muon's updates are scaled to AdamW's size (Liu et al. 2025). Each group remembers its peak rate, which falls with
    its depth (discriminative rates, Howard & Ruder 2018), and the part of the run after which it moves at all.
    """
    groups: dict[str, list[dict]] = {"matrices": [], "rest": []}
    for depth, parameters in enumerate(_by_depth(model)):
        for p in parameters:
            inside = p.dim() == 2 and p is not model.embedding
            rate = config.matrix_rate if inside else config.learning_rate
            group = {
                "params": [p],
                "peak": rate * config.rate_by_depth**depth,
                "thaw": config.thaw * depth / (model.config.layers + 1),
                "weight_decay": config.weight_decay if p.dim() == 2 else 0.0,
            }
            groups["matrices" if inside else "rest"].append(group)
    return [
        torch.optim.AdamW(groups["rest"], lr=config.learning_rate, betas=(0.9, 0.99), fused=True),
        torch.optim.Muon(groups["matrices"], lr=config.matrix_rate, adjust_lr_fn="match_rms_adamw"),
    ]


def _by_depth(model: LanguageModel) -> Iterator[list[torch.nn.Parameter]]:
    """Output, then layer after layer from the top, then the embedding, which is the output matrix too."""
    yield [model.projection, model.output_bias]
    for n in reversed(range(model.config.layers)):
        yield [model.weight_x[n], model.weight_h[n], model.bias[n]]
    yield [model.embedding]


def move(optimizers: list[Optimizer], warmup: float, progress: float) -> None:
    """Take one step with the gradients that are there, at the rates of this part of the run, and clear them.

    warmup, progress: parts of the run, 0 to 1. A group that has not thawed yet stays where it is.
    """
    factor = rate_factor(warmup, progress)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor if progress >= group["thaw"] else 0.0
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def rate_factor(warmup: float, progress: float) -> float:
    """Part of the peak rate, 0 to 1: a linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017).

    warmup, progress: parts of the run, 0 to 1.
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
