"""A text in the making: its ids, where the model stands in it, and moments to which it can be taken back.

L layers, H hidden.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lstm import sampling
from lstm.config import SamplingConfig
from lstm.runtime import Gates, State
from lstm.tokenizer import Tokenizer

_KEPT_STATES = 32  # of one text: when there are more, every other one goes
_TAIL = 400  # ids that settle where the decoder and the stop strings stand: 100 characters of 4 bytes


class TokenEvent(NamedTuple):
    """One token that was written. Probabilities are the model's own, before any setting."""

    stream: int
    position: int  # tokens written before it since the prompt
    id: int
    text: str  # what this token completes; the parts add up to the whole text
    log_probability: float  # nats
    entropy: float  # nats
    alternatives: tuple[tuple[int, float], ...]  # the likeliest ids with their probabilities
    seconds: float  # since the stream was asked for
    rank: int = 0  # how many tokens the model thought likelier
    gates: Gates | None = None  # each (L, H), of the step that foretold this token; only where they were asked for
    ended: str = ""  # on the last event: "length", "stop" or "deadline"


@dataclass(frozen=True)
class Moment:
    """A place in a text, as a value. Writing on from it is exact and costs the same wherever it is."""

    ids: tuple[int, ...]  # the prompt's and those written, up to here
    written: int  # how many of them were written since the prompt
    read: int  # how many of them the state has read: never all, since the last one foretells the next
    state: State  # each (L, H)
    told: bool = False  # whether the end was told to the reader, with what the decoder still held


class Trail:
    """The ids of a text and states along them: any place that it has been at can be gone back to."""

    def __init__(self, moment: Moment):
        self.ids = list(moment.ids)
        self.prompt = len(moment.ids) - moment.written  # ids before the first that was written
        self.first = moment.written  # where this text begins to write
        self.ended = ""
        self._start = (moment.read, moment.state)
        self._states: list[tuple[int, State]] = []  # how much was read, and the state after it
        self._interval = 1  # tokens between two kept states

    @property
    def written(self) -> int:
        """Tokens written since the prompt, those before this text's first moment included."""
        return len(self.ids) - self.prompt

    def wants(self, read: int) -> bool:
        """Whether the state after so many ids is due to be kept."""
        return not self._states or read - self._states[-1][0] >= self._interval

    def keep(self, read: int, state: State) -> None:
        """Keep the state (L, H) after so many ids, so that a moment near here costs few steps."""
        self._states.append((read, state))
        if len(self._states) > _KEPT_STATES:
            del self._states[1::2]
            self._interval *= 2

    def moment(self, written: int | None = None) -> Moment:
        """The place after so many tokens written, the end if None. Raises IndexError for one outside this text."""
        written = self.written if written is None else written
        if not self.first <= written <= self.written:
            raise IndexError(f"position {written} is not in {self.first} to {self.written}")
        length = self.prompt + written
        read, state = next((kept for kept in reversed(tuple(self._states)) if kept[0] < length), self._start)
        told = bool(self.ended) and written == self.written
        return Moment(tuple(self.ids[:length]), written, read, state, told)


class Text(Trail):
    """What is to be written after a moment, and how far it is."""

    def __init__(
        self,
        moment: Moment,
        settings: SamplingConfig,
        tokenizer: Tokenizer,
        number: int = 0,
        watched: bool = False,
        deadline: float = math.inf,
        reached: Moment | None = None,
    ):
        """number: what the events call the text; watched: whether they carry gates; deadline: seconds from now.

        reached: how far the same text had come when the engine that wrote it was lost.
        """
        super().__init__(moment)
        self.settings, self.number, self.watched, self.deadline = settings, number, watched, deadline
        self.read, self.state = moment.read, moment.state
        self._began = time.perf_counter()
        self._uniform = sampling.Uniform(settings.seed)
        self._decoder, self._stops = tokenizer.decoder(), StopStrings(settings.stop)
        for place, i in enumerate(self.ids[-_TAIL:], len(self.ids) - len(self.ids[-_TAIL:])):
            text = self._decoder.push(i)
            if place >= self.prompt and not moment.told:
                self._stops.push(text)
        if moment.told:
            self._decoder.flush()
        if reached:
            for i in reached.ids[len(self.ids) :]:
                self.ids.append(i)
                self._stops.push(self._decoder.push(i))
            self.read, self.state = reached.read, reached.state

    def late(self) -> bool:
        """Whether the deadline has passed."""
        return time.perf_counter() > self._began + self.deadline

    def uniform(self) -> float:
        """The draw for the next token."""
        return self._uniform.at(self.written)

    def write(self, drawn: sampling.Drawn, gates: Gates | None = None) -> TokenEvent:
        """Take the token that was drawn, and end the text if it is time."""
        position, now = self.written, time.perf_counter()
        self.ids.append(drawn.id)
        text, stopped = self._stops.push(self._decoder.push(drawn.id))
        if stopped:
            self.ended = "stop"
        elif position + 1 - self.first >= self.settings.length:
            self.ended = "length"
        elif now > self._began + self.deadline:
            self.ended = "deadline"
        if self.ended and not stopped:
            text += self._stops.push(self._decoder.flush())[0] + self._stops.flush()
        return TokenEvent(
            self.number,
            position,
            drawn.id,
            text,
            drawn.log_probability,
            drawn.entropy,
            drawn.alternatives,
            now - self._began,
            drawn.rank,
            gates,
            self.ended,
        )


class StopStrings:
    """Finds strings at which a text ends, and holds back what may be the beginning of one."""

    def __init__(self, strings: Sequence[str]):
        self._strings, self._held = strings, ""

    def push(self, text: str) -> tuple[str, bool]:
        """What may be shown now that this text has come, and whether a string was found; what follows it is dropped."""
        if not self._strings:
            return text, False
        held = self._held + text
        found = [(held.find(string) + len(string), -len(string)) for string in self._strings if string in held]
        if found:
            self._held = ""
            return held[: sum(min(found))], True  # of several, the one that is complete first
        keep = max(_overlap(held, string) for string in self._strings)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def flush(self) -> str:
        """What is still held when the text ends."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of the text with which the string begins."""
    return next((n for n in range(min(len(text), len(string) - 1), 0, -1) if text.endswith(string[:n])), 0)
