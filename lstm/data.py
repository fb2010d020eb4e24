"""Ids on disk, shuffled by passages; contiguous lanes of them; batches in reading order; a cursor that resumes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm.config import Refused
from lstm.tokenizer import Tokenizer

PASSAGE = 64_000  # characters: long enough to learn from, short enough that a book is spread over the lanes


class Batch(NamedTuple):
    """Inputs and targets, each (B, T), int64; targets are the inputs one token later."""

    inputs: np.ndarray
    targets: np.ndarray


class Cursor(NamedTuple):
    """Where reading goes on: the epoch, and how many windows of it were read."""

    epoch: int = 0
    window: int = 0


def passages(text: str, size: int = PASSAGE) -> Iterator[str]:
    """The text in order, cut at the first empty line (or space) after each `size` characters."""
    start = 0
    while start < len(text):
        end = start + size
        for mark in ("\n\n", "\n", " "):
            if 0 <= (cut := text.find(mark, end)) < end + size:
                end = cut + len(mark)
                break
        yield text[start:end]
        start = end


def write_ids(texts: Iterable[str], tokenizer: Tokenizer, path: Path, seed: int) -> np.ndarray:
    """Encode passages into a file and return it mapped, (N,) uint16, its passages in a random order.

    Memory does not grow with the texts. Raises OSError when the disk is full.
    """
    lengths, ordered = [], path.with_suffix(".ordered")
    with open(ordered, "wb") as file:
        for text in texts:
            for ids in tokenizer.encode_all(list(passages(text))):
                lengths.append(len(ids))
                file.write(np.array(ids, np.uint16).tobytes())
    source = np.memmap(ordered, np.uint16, "r")
    ends = np.cumsum(lengths)
    fresh = path.with_suffix(".new")
    with open(fresh, "wb") as file:
        for n in np.random.default_rng(seed).permutation(len(lengths)):
            file.write(source[ends[n] - lengths[n] : ends[n]].tobytes())
    ordered.unlink()
    fresh.rename(path)
    return np.memmap(path, np.uint16, "r")


class Lanes:
    """Endless batches of B lanes x T tokens over the ids of a text.

    Each epoch turns the text by a random offset, so that windows never fall on the same places again, and may take
    another segmentation: ids_of(epoch) gives the epoch's ids, (N,).
    """

    def __init__(
        self, ids_of: Callable[[int], np.ndarray], lanes: int, window: int, seed: int, share: slice = slice(None)
    ):
        """share: which of the lanes to read, where several processes share them."""
        self._ids_of, self._lanes, self._window, self._seed, self._share = ids_of, lanes, window, seed, share
        self.seek(Cursor())

    def seek(self, cursor: Cursor) -> None:
        """Go on from a cursor. Raises Refused if the text is too short for so many lanes."""
        self.cursor = cursor
        self._ids = self._ids_of(cursor.epoch)
        self._length = len(self._ids) // self._lanes  # tokens of a lane
        if self._length < 2:
            raise Refused(f"{len(self._ids)} tokens are too few for {self._lanes} lanes: give more text or fewer lanes")
        self.windows = max(1, self._length // self._window)
        offset = np.random.default_rng([self._seed, cursor.epoch]).integers(len(self._ids))
        self._starts = offset + self._length * np.arange(self._lanes)[self._share, None]

    @property
    def tokens(self) -> int:
        """Tokens of the epoch that is being read."""
        return len(self._ids)

    def __next__(self) -> Batch:
        if self.cursor.window == self.windows:
            self.seek(Cursor(self.cursor.epoch + 1, 0))
        epoch, window = self.cursor
        places = self._starts + window * self._window + np.arange(min(self._window, self._length) + 1)
        rows = self._ids[places % len(self._ids)].astype(np.int64)
        self.cursor = Cursor(epoch, window + 1)
        return Batch(rows[:, :-1], rows[:, 1:])

    def __iter__(self) -> "Lanes":
        return self
