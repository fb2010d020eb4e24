"""Texts that are written together: a turn reads a little of each new prompt and writes one token of every other text.

Each text has a row of its own while it is here, so it becomes the same whoever else is written beside it.
"""

import math
import time
from collections import OrderedDict

import numpy as np

from lstm import sampling
from lstm.runtime import Rows, Runtime, State
from lstm.text import Text, TokenEvent

_PROMPT_SECONDS = 0.01  # of a turn, spent on prompts before the texts go on
_STRIDE = 32  # ids of a prompt between two states that are remembered
_REMEMBERED = 64  # states of prompts


class Batch:
    """At most so many texts. One thread owns it."""

    def __init__(self, runtime: Runtime, slots: int):
        self._runtime = runtime
        self._reading, self._writing = _Group(runtime, slots), _Group(runtime, slots)
        self._prompts = _PromptStates()
        self._settings: sampling.Settings | None = None

    def __len__(self) -> int:
        return len(self._reading.texts) + len(self._writing.texts)

    def join(self, text: Text) -> None:
        """Take a text in. What was read of its prompt before is not read again."""
        if text.read == 0:
            text.read, text.state = self._prompts.longest(text.ids) or (0, text.state)
        self._place(text)

    def leave(self, text: Text) -> None:
        """Take a text out, with its state, so that it can join again. Nothing happens if it is not here."""
        for group in (self._reading, self._writing):
            if text in group.texts:
                group.remove(group.texts.index(text))
                self._settings = None

    def turn(self) -> list[tuple[Text, TokenEvent | Exception]]:
        """Read on in the prompts, then write one token of each text whose prompt was read.

        An exception in place of an event ends that text alone; texts that have ended are out of the batch.
        """
        self._read_prompts()
        texts = self._writing.texts
        if not texts:
            return []
        logits = self._writing.step()
        if self._settings is None:
            self._settings = sampling.Settings.of([text.settings for text in texts], self._runtime.config.vocab_size)
        uniform = np.array([text.uniform() for text in texts])
        drawn = sampling.choose(logits, self._settings, uniform, [text.ids for text in texts]).rows()
        events: list[tuple[Text, TokenEvent | Exception]] = []
        for row in reversed(range(len(texts))):
            text = texts[row]
            try:
                event = self._write(text, row, drawn[row])
            except Exception as error:  # whatever it is, it is this text's alone
                event, text.ended = error, "error"
            if text.ended:
                self._writing.remove(row)
                self._settings = None
            events.append((text, event))
        return events

    def _write(self, text: Text, row: int, drawn: sampling.Drawn) -> TokenEvent:
        if not math.isfinite(drawn.entropy):
            raise ArithmeticError("the model gave numbers that are not finite: train the checkpoint again")
        if text.wants(text.read):
            text.keep(text.read, self._writing.rows.get(row))
        return text.write(drawn, self._writing.rows.gates(row) if text.watched else None)

    def _read_prompts(self) -> None:
        group, until = self._reading, time.perf_counter() + _PROMPT_SECONDS
        while group.texts and time.perf_counter() < until:
            group.step()
            for row in reversed(range(len(group.texts))):
                text = group.texts[row]
                done = text.read + 1 == len(text.ids)
                if (done or text.read % _STRIDE == 0) and text.written == 0:
                    self._prompts.remember(text.ids[: text.read], group.rows.get(row))
                if done:
                    group.remove(row)
                    self._place(text)

    def _place(self, text: Text) -> None:
        if text.read + 1 < len(text.ids):
            self._reading.add(text)
        else:
            if text.wants(text.read):
                text.keep(text.read, text.state)
            self._writing.add(text)
            self._settings = None


class _Group:
    """Texts and their rows: text n has row n."""

    def __init__(self, runtime: Runtime, slots: int):
        self.rows = Rows(runtime, slots)
        self.texts: list[Text] = []

    def add(self, text: Text) -> None:
        self.rows.put(len(self.texts), text.state)
        self.texts.append(text)

    def remove(self, row: int) -> None:
        """Take a text out with its state; the last one moves to its row."""
        self.texts[row].state = self.rows.get(row)
        self.rows.move(len(self.texts) - 1, row)
        self.texts[row] = self.texts[-1]
        self.texts.pop()

    def step(self) -> np.ndarray:
        """Read the next id of each text: logits (B, V)."""
        self.rows.ids[: len(self.texts)] = [text.ids[text.read] for text in self.texts]
        logits = self.rows.step(len(self.texts))
        for text in self.texts:
            text.read += 1
        return logits


class _PromptStates:
    """States after the beginnings of prompts that were read last."""

    def __init__(self):
        self._states: OrderedDict[tuple[int, ...], State] = OrderedDict()

    def longest(self, ids: list[int]) -> tuple[int, State] | None:
        """How much of a prompt was read before, and the state after it; at least one id is left to read."""
        last = len(ids) - 1
        for length in (last, *range(last - last % _STRIDE, 0, -_STRIDE)):
            if state := self._states.get(tuple(ids[:length])):
                self._states.move_to_end(tuple(ids[:length]))
                return length, state
        return None

    def remember(self, ids: list[int], state: State) -> None:
        """Keep a state, and forget the one that was of no use for longest."""
        self._states[tuple(ids)] = state
        if len(self._states) > _REMEMBERED:
            self._states.popitem(last=False)
