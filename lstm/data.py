"""Ids as contiguous lanes: batches in reading order, with a cursor that resumes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm.config import Refused


class Batch(NamedTuple):
    """inputs and targets, each (B, T), int64; targets are the inputs one token later."""

    inputs: np.ndarray
    targets: np.ndarray


class Cursor(NamedTuple):
    """Where reading goes on: the epoch, and how many windows of it were read."""

    epoch: int = 0
    window: int = 0


class Lanes:
    """Endless batches of B lanes x T tokens over the ids of a text.

    Each epoch turns the text by a random offset, so that windows never fall on the same places again, and may take
    another segmentation: ids_of(epoch) gives the epoch's ids, (N,).
    """

    def __init__(
        self, ids_of: Callable[[int], np.ndarray], lanes: int, window: int, seed: int, cursor: Cursor = Cursor()
    ):
        self._ids_of, self._lanes, self._window, self._seed = ids_of, lanes, window, seed
        self.cursor = cursor
        self._open(cursor.epoch)

    def _open(self, epoch: int) -> None:
        self._ids = self._ids_of(epoch)
        self._length = len(self._ids) // self._lanes  # tokens of a lane
        if self._length < 2:
            raise Refused(
                f"the text has only {len(self._ids)} tokens for {self._lanes} lanes: give more text or fewer lanes"
            )
        self.windows = max(1, self._length // self._window)
        offset = np.random.default_rng([self._seed, epoch]).integers(len(self._ids))
        self._starts = offset + self._length * np.arange(self._lanes)[:, None]

    def __next__(self) -> Batch:
        epoch, window = self.cursor
        if window == self.windows:
            epoch, window = epoch + 1, 0
            self._open(epoch)
        span = min(self._window, self._length)
        places = self._starts + window * self._window + np.arange(span + 1)
        rows = self._ids[places % len(self._ids)].astype(np.int64)
        self.cursor = Cursor(epoch, window + 1)
        return Batch(rows[:, :-1], rows[:, 1:])

    def __iter__(self) -> "Lanes":
        return self
