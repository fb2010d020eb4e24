"""What the tests of texts and of the engine share: prompts, settings, an engine that is run and closed."""

import asyncio

from lstm.batch import Batch
from lstm.config import SamplingConfig
from lstm.engine import Engine
from lstm.runtime import State, initial_state
from lstm.text import Text, TokenEvent

PROMPTS = ["The wolf", "", "Once upon a time\n\n     “Oh, hear", "the cub " * 30, "naïve café 🐺"]
VARIED = [
    {"temperature": 0.0},
    {"temperature": 1.0, "top_k": 0},
    {"temperature": 0.8, "top_k": 40},
    {"temperature": 1.2, "top_k": 0, "top_p": 0.9},
    {"temperature": 0.9, "min_p": 0.02, "repetition_penalty": 1.3},
    {"temperature": 1.5, "stop": ("e", "the")},
]


def run_engine(tiny, work, **options):
    """Call work(engine) in an event loop of its own, with an engine that is closed afterwards."""

    async def main():
        engine = Engine(tiny, **options)
        try:
            return await asyncio.wait_for(work(engine), 60)
        finally:
            engine.close()

    return asyncio.run(main())


async def collect(stream) -> list[TokenEvent]:
    return [event async for event in stream]


async def until(condition) -> None:
    """Wait for what another thread is about to do."""
    while not condition():
        await asyncio.sleep(0.002)


def core(events: list[TokenEvent]) -> list[tuple]:
    """All that may not depend on who else is there."""
    return [(e.position, e.id, e.text, e.log_probability, e.entropy, e.rank, e.alternatives, e.ended) for e in events]


def request(n: int) -> tuple[str, SamplingConfig]:
    settings = SamplingConfig(**VARIED[n % len(VARIED)], seed=n, length=5 + n * 7 % 50)
    return PROMPTS[n % len(PROMPTS)], settings


def zeros(tiny) -> State:
    return initial_state(tiny.config)


def finish(batch: Batch, text: Text) -> list[TokenEvent]:
    batch.join(text)
    events = []
    while len(batch):
        events += [event for _, event in batch.turn()]
    return events
