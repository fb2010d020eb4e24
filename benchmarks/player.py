"""app.py with a player in the engine's place: one text, written once, is played to everybody at PLAYER_SPEED tokens/s.

So the process does what a page process does whose texts come from replicas, and nothing of what these do. It takes
app.py's options.
"""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import app
from lstm.checkpoint import Checkpoint
from lstm.config import SamplingConfig
from lstm.engine import TokenEvent, write
from lstm.stats import Stats, Tally
from lstm.web import server

LONGEST = 2000  # tokens
BATCH = 0.004  # seconds between two batches of events


class Player:
    """What the page needs of an engine."""

    running = 0

    def __init__(self, opened: Checkpoint):
        self._events = list(write(opened, "The old wolf", SamplingConfig(length=LONGEST, seed=7)))
        self._speed, self._numbers = float(os.environ["PLAYER_SPEED"]), itertools.count()

    async def stream(self, prompt: str, settings: SamplingConfig, after: object = None) -> AsyncIterator[TokenEvent]:
        """The first tokens of the text, whatever the prompt."""
        began, number, due = time.monotonic(), next(self._numbers), 1
        for n, event in enumerate(self._events[: settings.length], 1):
            while n > due:
                await asyncio.sleep(BATCH)
                due = 1 + int((time.monotonic() - began) * self._speed)
            ended = "length" if n == settings.length else ""
            yield event._replace(stream=number, seconds=time.monotonic() - began, ended=ended)

    def stats(self) -> Stats:
        """Nothing happens here."""
        return Tally().stats(0, 0, 0)

    def close(self) -> None:
        """Nothing to stop."""


if __name__ == "__main__":
    server.Library = partial(server.Library, engine=Player)
    sys.exit(app.main())
