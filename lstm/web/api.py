"""What any program may ask of the page: a text that grows, the bits of a text's tokens, what may come next.

Unlike the panel's own endpoints these are shown, with their types and defaults, on Gradio's API page.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import gradio as gr
import numpy as np

from lstm.config import Refused, SamplingConfig
from lstm.web import guard
from lstm.web.endpoints import expose, in_one_sentence, writer
from lstm.web.library import Library

NUMBERS = ("temperature", "top_k", "length", "seed", "top_p", "min_p", "repetition_penalty")  # in the guard's order


def add(panel: gr.HTML, library: Library, readers: int) -> None:
    """Put the three endpoints behind the same guards, lanes and limits as the panel's."""
    prompt, text = _text("how the text begins"), _text("the text to score")
    context, stop = _text("a text that is read before it, not scored"), _text("texts at which to end, one a line")
    model = _text("the name of one of the page's checkpoints, empty for its first")
    count = gr.Number(10, label="how many of the likeliest tokens to tell", precision=0, visible=False)
    story = gr.Textbox(label="the text so far, without the prompt", visible=False)
    costs = gr.JSON(label="bits per byte, bytes, and each token's text and bits", visible=False)
    odds = gr.JSON(label="entropy in bits, and each token's text and probability", visible=False)
    settings = [_number(name) for name in NUMBERS]
    places = [
        ([prompt, *settings, stop, model], story, "write", readers),
        ([text, context, model], costs, "read", 4),
        ([prompt, count, model], odds, "read", 4),
    ]
    for (function, checks), (inputs, output, lane, limit) in zip(functions(library), places, strict=True):
        expose(panel, function, inputs, output, checks, lane, limit, "public")


def functions(library: Library) -> list[tuple[Callable, dict[str, guard.Check]]]:
    """The three, each with the checks of its values. A generator's last answer is the whole."""
    score, next_token = _readers(library)
    return [(_generator(library), guard.GENERATE), (score, guard.SCORE), (next_token, guard.NEXT)]


def _text(label: str) -> gr.Textbox:
    return gr.Textbox("", label=label, visible=False)


def _number(name: str) -> gr.Number:
    """A setting of the engine as a typed parameter."""
    field = SamplingConfig.model_fields[name]
    whole = 0 if field.annotation is int else None
    return gr.Number(field.default, label=field.description, precision=whole, visible=False)


def _generator(library: Library) -> Callable[..., AsyncIterator[str]]:
    write = writer(library)

    async def generate(
        prompt: str, temperature: float, top_k: int, length: int, seed: int, top_p: float, min_p: float,
        repetition_penalty: float, stop: str, model: str, request: gr.Request,
    ) -> AsyncIterator[str]:  # fmt: skip
        """Write on from a prompt: the text that follows it. As a stream it grows; the last answer is the whole.

        Parameters:
            prompt: how the text begins, at most 20,000 characters
            temperature: 0 takes the likeliest token, more is bolder, at most 2
            top_k: draw among so many likeliest tokens, at most 200, 0 for all
            length: tokens to write, at most 2,000
            seed: the same seed, prompt and settings give the same text
            top_p: draw among the likeliest tokens that hold so much of the odds, from 0 to 1
            min_p: leave out tokens less likely than this part of the likeliest, from 0 to 1
            repetition_penalty: above 1, recent tokens are less likely again, at most 2
            stop: texts at which to end, one a line, at most 8
            model: the name of one of the page's checkpoints, empty for its first
        """
        text = ""
        settings = (temperature, top_k, length, seed, top_p, min_p, repetition_penalty, stop)
        async with aclosing(write(prompt, *settings, [], -1, model, request)) as frames:
            async for frame in frames:
                told = json.loads(frame)
                text = told["text"] if "ended" in told else text + "".join(token[1] for token in told["tokens"])
                yield text

    return generate


def _readers(library: Library) -> Iterator[Callable]:
    async def score(text: str, context: str, model: str) -> dict:
        """How many bits each token of a text costs the model; what was foretold costs little.

        Parameters:
            text: what is read, at most 4,096 tokens with the context
            context: what is read before it and not scored
            model: the name of one of the page's checkpoints, empty for its first
        """
        with in_one_sentence():
            if not text:
                raise Refused("the text is empty: give one to score")
            opened = await asyncio.to_thread(library.open, model)
            texts, nats = await asyncio.to_thread(opened.reader.surprise, context, text)
        bits, size = nats / math.log(2), len(text.encode())
        tokens = [{"text": part, "bits": round(cost, 3)} for part, cost in zip(texts, bits.tolist(), strict=True)]
        return {"bits_per_byte": round(float(bits.sum()) / size, 4), "bytes": size, "tokens": tokens}

    async def next_token(prompt: str, count: int, model: str) -> dict:
        """The likeliest tokens to come next with the model's own probabilities, before any setting.

        Parameters:
            prompt: what was read so far
            count: how many tokens to tell, at most 200
            model: the name of one of the page's checkpoints, empty for its first
        """
        with in_one_sentence():
            opened = await asyncio.to_thread(library.open, model)
            logits = await asyncio.to_thread(opened.reader.logits, prompt, ())
        odds = np.exp(logits - logits.max(), dtype=np.float64)
        odds /= odds.sum()
        entropy = -float((odds * np.log2(np.maximum(odds, 1e-300))).sum())
        piece = opened.checkpoint.tokenizer.piece
        best = np.argsort(-odds, kind="stable")[: int(count)].tolist()
        tokens = [{"text": piece(i), "probability": float(f"{odds[i]:.4g}")} for i in best]
        return {"entropy_bits": round(entropy, 3), "tokens": tokens}

    next_token.__name__ = "next"
    yield from (score, next_token)
