"""What the engine counts: streams, tokens, and how long its steps take."""

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

_OF_LATE = 10.0  # seconds


@dataclass(frozen=True)
class Stats:
    """Figures of an engine. Percentiles are of the last turns: one token for every text that is being written."""

    running: int  # texts that hold a slot
    waiting: int  # requests in line
    slots: int
    finished: int  # texts that came to their end
    left: int  # readers who went before the end
    dropped: int  # readers who did not read
    refused: int  # requests turned away for want of a place
    failed: int  # texts that ended with an error
    tokens: int  # written since the start
    tokens_per_second: float  # over the last ten seconds
    turn_ms: tuple[float, float]  # median and 99th percentile, milliseconds


class Tally:
    """Counts in the making."""

    def __init__(self):
        self.finished = self.left = self.dropped = self.refused = self.failed = self.tokens = 0
        self._turns: deque[tuple[float, float, int]] = deque(maxlen=4096)  # when, seconds, tokens

    def turn(self, seconds: float, tokens: int) -> None:
        """Count a turn of the batch that wrote so many tokens."""
        self.tokens += tokens
        self._turns.append((time.monotonic(), seconds, tokens))

    def stats(self, running: int, waiting: int, slots: int) -> Stats:
        """The counts as they stand, with what the engine knows of its lines."""
        now = time.monotonic()
        late = [turn for turn in tuple(self._turns) if now - turn[0] < _OF_LATE]
        span = now - late[0][0] + late[0][1] if late else 0.0
        written = [seconds for _, seconds, tokens in late if tokens] or [0.0]
        median, worst = np.percentile(written, [50, 99]) * 1000
        return Stats(
            running=running,
            waiting=waiting,
            slots=slots,
            finished=self.finished,
            left=self.left,
            dropped=self.dropped,
            refused=self.refused,
            failed=self.failed,
            tokens=self.tokens,
            tokens_per_second=round(sum(tokens for *_, tokens in late) / span, 1) if span else 0.0,
            turn_ms=(round(float(median), 3), round(float(worst), 3)),
        )
