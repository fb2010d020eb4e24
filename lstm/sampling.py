"""Logits to ids: pure NumPy, vectorised over rows, each row with settings of its own.

B rows, V pieces, K candidates. What a row draws does not depend on the other rows, bit for bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm.config import SamplingConfig

ALTERNATIVES = 10
MEMORY = 64  # tokens that the repetition penalty looks back on
_BLOCK = 256  # uniform draws that are made at a time
_NARROW = 256  # a row that draws among more candidates than this is drawn by itself


class Choice(NamedTuple):
    """What was drawn for B rows, and what the model itself thought of it, before any setting.

    ids (B,); log_probability and entropy (B,), nats; rank (B,), 0 for the likeliest; the likeliest ids and their
    probabilities (B, ALTERNATIVES).
    """

    ids: np.ndarray
    log_probability: np.ndarray
    entropy: np.ndarray
    rank: np.ndarray
    alternatives: np.ndarray
    probabilities: np.ndarray

    def rows(self) -> "list[Drawn]":
        """Each row by itself."""
        *numbers, ids, probabilities = (values.tolist() for values in self)
        pairs = map(tuple, map(zip, ids, probabilities))
        return [Drawn(*row) for row in zip(*numbers, pairs, strict=True)]


class Drawn(NamedTuple):
    """One row of a Choice in plain numbers; alternatives are pairs of an id and its probability."""

    id: int
    log_probability: float
    entropy: float
    rank: int
    alternatives: tuple[tuple[int, float], ...]


class Settings(NamedTuple):
    """The settings of B rows, (B, 1) each, and which rows need more than the rest. Made once for the same rows."""

    heat: np.ndarray  # the temperature, 1 where only the likeliest is kept
    kept: np.ndarray  # how many of the likeliest are drawn among
    top_p: np.ndarray
    min_p: np.ndarray
    penalty: np.ndarray
    thinned: bool  # whether any row has a top-p or a min-p
    width: int  # K: how many are ranked for all rows
    wide: tuple[int, ...]  # rows that draw among more, each by itself
    penalised: tuple[int, ...]

    @classmethod
    def of(cls, rows: Sequence[SamplingConfig], V: int) -> "Settings":
        """The settings of each configuration in turn, for a vocabulary of V pieces."""
        kept = [1 if row.temperature == 0 else min(row.top_k or V, V) for row in rows]
        column = lambda values: np.array(values)[:, None]
        return cls(
            heat=column([row.temperature or 1.0 for row in rows]),
            kept=column(kept),
            top_p=column([row.top_p for row in rows]),
            min_p=column([row.min_p for row in rows]),
            penalty=column([row.repetition_penalty for row in rows]),
            thinned=any(row.top_p < 1 or row.min_p > 0 for row in rows),
            width=min(V, max(ALTERNATIVES, *(k for k in (0, *kept) if k <= _NARROW))),
            wide=tuple(n for n, k in enumerate(kept) if k > _NARROW),
            penalised=tuple(n for n, row in enumerate(rows) if row.repetition_penalty != 1),
        )

    def row(self, n: int) -> "Settings":
        """The settings of one row."""
        return Settings(*(values[n : n + 1] for values in self[:5]), *self[5:])


class Uniform:
    """A stream's own draws: the draw at a position is a function of the seed and the position alone."""

    def __init__(self, seed: int):
        self._seed, self._first, self._draws = seed, -_BLOCK, np.empty(0)

    def at(self, position: int) -> float:
        """A number in [0, 1). Source: Salmon et al. 2011, counter-based generators."""
        if not 0 <= position - self._first < _BLOCK:
            block = position // _BLOCK
            self._first = block * _BLOCK
            self._draws = np.random.Generator(np.random.Philox(key=[self._seed, block])).random(_BLOCK)
        return float(self._draws[position - self._first])


def choose(logits: np.ndarray, settings: Settings, uniform: np.ndarray, recent: Sequence[Sequence[int]] = ()) -> Choice:
    """Draw one id a row: logits (B, V) float32, uniform (B,) in [0, 1), recent: for each row the ids read last."""
    row = np.arange(len(logits))[:, None]
    centred = logits - logits.max(axis=1, keepdims=True)
    exps = np.exp(centred)
    total = exps.sum(axis=1)
    log_total = np.log(total)
    likeliest = order = ranked(logits, settings.width)
    weighed = centred
    if settings.penalised:
        weighed = penalised(logits, settings, recent)
        weighed -= weighed.max(axis=1, keepdims=True)
        order = ranked(weighed, settings.width)
    ids = draw(weighed[row, order], order, settings, uniform)
    for n in settings.wide:
        alone, V = weighed[n : n + 1], logits.shape[1]
        order = ranked(alone, V) if settings.top_p[n] < 1 or settings.kept[n] < V else np.arange(V)[None]
        ids[n] = draw(alone[:, order[0]], order, settings.row(n), uniform[n : n + 1])[0]
    chosen = centred[row, ids[:, None]]
    alternatives = likeliest[:, :ALTERNATIVES]
    return Choice(
        ids=ids,
        log_probability=chosen[:, 0] - log_total,
        entropy=log_total - np.vecdot(exps, centred) / total,
        rank=(centred > chosen).sum(axis=1),
        alternatives=alternatives,
        probabilities=exps[row, alternatives] / total[:, None],
    )


def ranked(logits: np.ndarray, count: int) -> np.ndarray:
    """The K = count likeliest ids of each row, likeliest first, of equals the smaller id first: (B, V) -> (B, K).

    The peaks of 4 K groups are ranked first: at least K logits reach the K-th of them, few more do, and only those
    are sorted.
    """
    B, V = logits.shape
    groups = 4 * count
    if groups > V // 2:
        return np.argsort(-logits, axis=1, kind="stable")[:, :count]
    peaks = logits[:, : V // groups * groups].reshape(B, -1, groups).max(axis=1)
    floor = np.partition(peaks, groups - count, axis=1)[:, groups - count, None]
    flat = np.flatnonzero(logits >= floor)
    if B == 1:
        return flat[np.argsort(-logits[0, flat], kind="stable")[:count]][None]
    row, ids = np.divmod(flat, V)
    found = np.bincount(row, minlength=B)
    column = np.arange(len(flat)) - np.repeat(found.cumsum() - found, found)
    width = max(count, found.max())
    values, candidates = np.full((B, width), np.inf, np.float32), np.zeros((B, width), np.int64)
    values[row, column] = -logits.ravel()[flat]
    candidates[row, column] = ids
    order = np.argsort(values, axis=1, kind="stable")[:, :count]
    return candidates[np.arange(B)[:, None], order]


def draw(values: np.ndarray, order: np.ndarray, settings: Settings, uniform: np.ndarray) -> np.ndarray:
    """One id a row: values (B, K) of the candidates order (B, K), the likeliest's being 0, uniform (B,) -> ids (B,).

    Temperature comes first, then top-k (Fan et al. 2018), top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024).
    """
    weight = np.exp(values / settings.heat)
    weight *= np.arange(weight.shape[1]) < settings.kept
    mass = weight.cumsum(axis=1)
    if settings.thinned:  # rows that are not stay as they are, to the bit
        weight *= (mass - weight <= settings.top_p * mass[:, -1:]) & (weight >= settings.min_p)
        mass = weight.cumsum(axis=1)
    index = (mass <= uniform[:, None] * mass[:, -1:]).sum(axis=1)
    return order[np.arange(len(order)), np.minimum(index, weight.shape[1] - 1)]


def penalised(logits: np.ndarray, settings: Settings, recent: Sequence[Sequence[int]]) -> np.ndarray:
    """Logits where what was read last is less likely: positive ones divided by the penalty, negative ones multiplied.

    Source: Keskar et al. 2019 (CTRL), section 4.1.
    """
    logits = logits.copy()
    for n in settings.penalised:
        seen, penalty = list(set(recent[n][-MEMORY:])), settings.penalty[n]
        values = logits[n, seen]
        logits[n, seen] = np.where(values > 0, values / penalty, values * penalty)
    return logits
