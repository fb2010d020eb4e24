"""Reads texts that are there already, through a runtime of its own, so that nobody who writes has to wait.

V pieces, T tokens, L layers, H hidden.
"""

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lstm.checkpoint import Checkpoint
from lstm.config import Refused
from lstm.engine import LONGEST_PROMPT
from lstm.runtime import Rows, Runtime, open_runtime, read
from lstm.web.shelf import prompt_ids


class Trace(NamedTuple):
    """What the cells did at each token, (T, L, H) each, float32."""

    input: np.ndarray
    forget: np.ndarray
    candidate: np.ndarray
    output: np.ndarray
    cell: np.ndarray
    hidden: np.ndarray


class Reader:
    """Opens its runtime when it is first asked; one text at a time."""

    def __init__(self, checkpoint: Checkpoint):
        self._checkpoint, self._lock = checkpoint, threading.Lock()

    @cached_property
    def _runtime(self) -> Runtime:
        return open_runtime(self._checkpoint)

    def logits(self, prompt: str, written: Sequence[int]) -> np.ndarray:
        """Of the token that comes next: (V,), float32. Raises Refused for a text that is too long."""
        with self._lock:
            rows = Rows(self._runtime, 1)
            for i in self._ids(prompt, written):
                rows.ids[0] = i
                logits = rows.step(1)
            return logits[0].copy()

    def surprise(self, before: str, text: str) -> tuple[list[str], np.ndarray]:
        """What each token of a text adds to it, and the nats that it costs after another text: (T,), float64."""
        tokenizer = self._checkpoint.tokenizer
        written = tokenizer.encode(text, after=before)
        ids = np.array([self._ids(before, written)])
        with self._lock:
            nats, _ = read(self._runtime, ids, self._runtime.initial_state(1))
        decoder = tokenizer.decoder()
        texts = [decoder.push(i) for i in ids[0].tolist()][ids.shape[1] - len(written) :]
        return texts, nats[0, ids.shape[1] - 1 - len(written) :]

    def trace(self, prompt: str, written: Sequence[int]) -> Trace:
        """What the cells did when they read each of these tokens after the prompt. Raises Refused."""
        with self._lock:
            rows, steps = Rows(self._runtime, 1), []
            for i in self._ids(prompt, written):
                rows.ids[0] = i
                rows.step(1)
                state = rows.get(0)
                steps.append((*rows.gates(0), state.cell, state.hidden))
        return Trace(*(np.stack(part) for part in zip(*steps[len(steps) - len(written) :], strict=True)))

    def _ids(self, prompt: str, written: Sequence[int]) -> tuple[int, ...]:
        ids = (*prompt_ids(self._checkpoint.tokenizer, prompt), *written)
        if len(ids) > LONGEST_PROMPT:
            raise Refused(f"the text has {len(ids):,} tokens: {LONGEST_PROMPT:,} can be read at once")
        return ids
