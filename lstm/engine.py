"""Readers' streams of tokens through one runtime."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from lstm import sampling
from lstm.checkpoint import Checkpoint
from lstm.config import SamplingConfig
from lstm.runtime import Runtime, State

ALTERNATIVES = 10
_TURN = 8  # steps between two looks at the reader


@dataclass(frozen=True)
class TokenEvent:
    """One token that was written. Probabilities are the model's own, before temperature and top-k."""

    stream: int
    position: int  # 0 for the first token after the prompt
    id: int
    text: str  # what this token completes; the parts add up to the whole text
    log_probability: float  # nats
    entropy: float  # nats
    alternatives: tuple[tuple[int, float], ...]  # the likeliest ids with their probabilities
    seconds: float  # since the stream was asked for
    ended: str = ""  # on the last event: "length" or "stop"


class Engine:
    """Writes texts. The same prompt, settings and seed give the same text whoever else reads."""

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self._runtime = Runtime(checkpoint)
        self._numbers = itertools.count()
        self.running = 0

    async def stream(self, prompt: str, settings: SamplingConfig) -> AsyncIterator[TokenEvent]:
        """Tokens that follow the prompt. Closing the iterator stops the work. Raises Refused for a prompt that is no text."""
        tokens = self._tokens(prompt, settings)
        self.running += 1
        try:
            while turn := await asyncio.to_thread(lambda: list(itertools.islice(tokens, _TURN))):
                for event in turn:
                    yield event
        finally:
            self.running -= 1
            tokens.close()

    def _tokens(self, prompt: str, settings: SamplingConfig):
        began, number = time.perf_counter(), next(self._numbers)
        tokenizer, decoder = self.checkpoint.tokenizer, self.checkpoint.tokenizer.decoder()
        logits, state = self._read(tokenizer.encode("\n") + tokenizer.encode(prompt), self._runtime.initial_state(1))
        for i in tokenizer.encode(prompt):
            decoder.push(i)
        generator = sampling.generator(settings)
        temperature, top_k = np.array([settings.temperature]), np.array([settings.top_k])
        for position in range(settings.length):
            model = sampling.softmax(logits)[0]
            distribution = sampling.probabilities(logits, temperature, top_k)
            chosen = int(sampling.draw(distribution, generator.random(1))[0])
            best = np.argsort(-model, kind="stable")[:ALTERNATIVES]
            last = position + 1 == settings.length
            yield TokenEvent(
                stream=number,
                position=position,
                id=chosen,
                text=decoder.push(chosen) + (decoder.flush() if last else ""),
                log_probability=float(np.log(model[chosen])),
                entropy=float(-(model * np.log(np.maximum(model, 1e-300))).sum()),
                alternatives=tuple((int(i), float(model[i])) for i in best),
                seconds=time.perf_counter() - began,
                ended="length" if last else "",
            )
            if not last:
                logits, state = self._read([chosen], state)

    def _read(self, ids: list[int], state: State) -> tuple[np.ndarray, State]:
        for i in ids:
            logits, state, _ = self._runtime.step(np.array([i]), state)
        return logits, state
