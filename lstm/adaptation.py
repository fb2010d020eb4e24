"""Models that learn from what they have just read: a neural cache and dynamic evaluation."""

import copy
import itertools
import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lstm import evaluation
from lstm.config import Settings
from lstm.model import LanguageModel, surprise
from lstm.score import Score
from lstm.tokenizer import Tokenizer

_ENOUGH = 3000  # tokens of the validation text on which settings are compared

Adapt = Literal["none", "cache", "dynamic", "both"]


class AdaptationConfig(Settings):
    """How a model adapts as it reads; chosen on the validation text, kept with the checkpoint."""

    cache_weight: float = Field(0.15, ge=0, le=1, description="the cache's share of the prediction")
    cache_sharpness: float = Field(16.0, ge=0, le=1000, description="how much likeness of the features counts")
    cache_size: int = Field(4000, ge=1, le=1_000_000, description="tokens that the cache remembers")
    dynamic_rate: float = Field(1e-3, ge=0, le=10, description="size of an update for a weight's usual gradient")
    dynamic_decay: float = Field(0.01, ge=0, le=1, description="pull of an update back to the trained weights")
    segment: int = Field(16, ge=1, le=4096, description="tokens read between two updates")


def evaluate(
    model: LanguageModel, tokenizer: Tokenizer, text: str, context: str, adapt: Adapt, config: AdaptationConfig
) -> Score:
    """Score a text after a context, as evaluation.evaluate does, by a model that adapts on both as it reads.

    Nothing is learnt from a token before it was scored. The given model is left as it was.
    """
    if adapt == "none":
        return evaluation.evaluate(model, tokenizer, text, context)
    before, ids = tokenizer.encode(context), tokenizer.encode(text, after=context)
    whole = torch.tensor(tokenizer.encode("\n") + before + ids)
    features, nats = _read(model, whole, config if adapt in ("dynamic", "both") else None)
    if adapt in ("cache", "both"):
        nats = with_cache(features, whole[1:], nats, config)
    return Score(float(nats[len(before) :].sum()), len(ids), len(text.encode()))


def _read(model: LanguageModel, ids: Tensor, config: AdaptationConfig | None) -> tuple[Tensor, Tensor]:
    """Features (N, E) and nats (N,) of ids[1:], ids (N + 1,); with a config the weights learn segment by segment."""
    reader = copy.deepcopy(model).eval()
    device = reader.output_bias.device
    updates = _updates(reader, config) if config else None
    state, features, nats = reader.initial_state(1), [], []
    segment = config.segment if config else 256
    for start in range(0, len(ids) - 1, segment):
        window = ids[start : start + segment + 1].to(device)[None]
        with torch.set_grad_enabled(updates is not None):
            seen, state = reader.features(window[:, :-1], state)
            cost = surprise(reader.logits(seen), window[:, 1:])
        state = type(state)(*(part.detach() for part in state))
        features.append(seen[0].detach())
        nats.append(cost[0].detach().double())
        if updates is not None:
            cost.mean().backward()
            next(updates)
    return torch.cat(features), torch.cat(nats)


def _updates(model: LanguageModel, config: AdaptationConfig) -> Iterator[None]:
    """Dynamic evaluation (Krause et al. 2018, section 4), its gradient scale a running root mean square."""
    trained = [p.detach().clone() for p in model.parameters()]
    squares = [torch.zeros_like(p) for p in trained]
    for count in itertools.count(1):
        with torch.no_grad():
            for p, first, square in zip(model.parameters(), trained, squares, strict=True):
                square.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                scale = (square / (1 - 0.999**count)).sqrt_().add_(1e-5)
                p.sub_(config.dynamic_rate * p.grad / scale).lerp_(first, config.dynamic_decay)
                p.grad = None
        yield


def with_cache(features: Tensor, targets: Tensor, nats: Tensor, config: AdaptationConfig, chunk: int = 512) -> Tensor:
    """Nats when a cache has its say: features (N, E), targets (N,), nats (N,) -> (N,). Grave et al. 2017, equation 3.

    Likeness is the cosine of the features; each place votes for the token that followed it.
    """
    unit, targets = F.normalize(features.float(), dim=1), targets.to(features.device)
    mixed = []
    for start in range(0, len(targets), chunk):
        rows = torch.arange(start, min(start + chunk, len(targets)), device=unit.device)
        first = max(0, start - config.cache_size)
        columns = torch.arange(first, int(rows[-1]), device=unit.device)
        if not len(columns):
            mixed.append(nats[rows])
            continue
        votes = config.cache_sharpness * unit[rows] @ unit[columns].t()
        past = (columns[None] < rows[:, None]) & (columns[None] >= rows[:, None] - config.cache_size)
        votes = votes.masked_fill(~past, -math.inf)
        hits = votes.masked_fill(
            targets[columns][None].to(unit.device) != targets[rows][:, None].to(unit.device), -math.inf
        )
        share = (hits.logsumexp(1) - votes.logsumexp(1)).double().exp()
        weight = torch.where(past.any(1), config.cache_weight, 0.0).double()
        mixed.append(-torch.log((1 - weight) * torch.exp(-nats[rows]) + weight * share.nan_to_num(0.0)))
    return torch.cat(mixed)


def choose(model: LanguageModel, tokenizer: Tokenizer, valid: str) -> AdaptationConfig:
    """The settings of a small grid that read the validation text best: first the updates, then the cache."""
    whole = torch.tensor(tokenizer.encode("\n") + tokenizer.encode(valid)[:_ENOUGH])
    rates = [AdaptationConfig(dynamic_rate=rate) for rate in (3e-4, 1e-3, 3e-3)]
    readings = [(config, *_read(model, whole, config)) for config in rates]
    config, features, nats = min(readings, key=lambda reading: float(reading[2].sum()))
    grid = itertools.product((0.05, 0.1, 0.15, 0.2), (8.0, 12.0, 16.0, 24.0))
    caches = [config.model_copy(update={"cache_weight": w, "cache_sharpness": s}) for w, s in grid]
    return min(caches, key=lambda c: float(with_cache(features, whole[1:], nats, c).sum()))
