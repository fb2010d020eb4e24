"""Logits to ids: pure NumPy, vectorised over rows."""

import numpy as np

from lstm.config import SamplingConfig


def probabilities(logits: np.ndarray, temperature: np.ndarray, top_k: np.ndarray) -> np.ndarray:
    """What is drawn from: logits (B, V), temperature (B,), top_k (B,) -> probabilities (B, V), each row summing to 1.

    Temperature 0 gives all to the likeliest token. top_k 0 keeps all; ties with the k-th are kept.
    """
    B, V = logits.shape
    greedy = temperature == 0
    scaled = logits.astype(np.float64) / np.where(greedy, 1.0, temperature)[:, None]
    keep = np.where(greedy, 1, np.where(top_k == 0, V, np.minimum(top_k, V)))
    for k in np.unique(keep[keep < V]):
        rows = keep == k
        threshold = np.partition(scaled[rows], V - k, axis=1)[:, V - k, None]
        scaled[rows] = np.where(scaled[rows] < threshold, -np.inf, scaled[rows])
    return softmax(scaled)


def softmax(logits: np.ndarray) -> np.ndarray:
    """logits (B, V) -> probabilities (B, V), float64."""
    exps = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def draw(distribution: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One id a row by inverting the cumulative sum: distribution (B, V), uniform (B,) in [0, 1) -> ids (B,)."""
    cumulative = np.cumsum(distribution, axis=1)
    return np.minimum((cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(axis=1), distribution.shape[1] - 1)


def generator(config: SamplingConfig) -> np.random.Generator:
    """The stream's own source of uniform draws."""
    return np.random.Generator(np.random.Philox(config.seed))
