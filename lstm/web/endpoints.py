"""What can be asked of the page, by the panel and by any program: each answer is JSON, each question is guarded.

The panel reads Gradio's queue itself, so that no frame is lost on the way to the screen.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing

import gradio as gr
from gradio.components import Component

from lstm.config import Refused
from lstm.engine import Engine
from lstm.web import facts, guard
from lstm.web.frames import encode, frames
from lstm.web.memory import pictures
from lstm.web.reader import Reader
from lstm.web.shelf import Shelf


def add(panel: gr.HTML, engine: Engine, controls: Mapping[str, Component], readers: int) -> None:
    """Put the endpoints behind the panel's submit event, which only gives them a name: the browser never fires it."""
    after, stream = gr.JSON([], visible=False, label="after"), gr.Number(-1, visible=False, label="stream")
    answer = gr.Textbox(visible=False, label="answer")

    def endpoint(function: Callable, inputs: list[Component], checks: dict, lane: str, limit: int) -> None:
        panel.submit(
            function,
            inputs,
            answer,
            validator=guard.validator(checks),
            preprocess=False,  # the guard sees what was sent, not what Gradio makes of it
            api_name=function.__name__,
            concurrency_id=lane,
            concurrency_limit=limit,
            show_progress="hidden",
        )

    endpoint(writer(engine), [*controls.values(), after, stream], guard.WRITE, "write", readers)
    reader = Reader(engine.checkpoint)
    endpoint(odds_reader(reader), [controls["prompt"], after], guard.READ, "read", 4)
    endpoint(memory_reader(reader), [controls["prompt"], after], guard.READ, "read", 4)
    for function in (vocabulary_teller(engine), model_teller(engine)):
        endpoint(function, [], {}, "tell", 8)


def writer(engine: Engine) -> Callable[..., AsyncIterator[str]]:
    """The endpoint that writes."""
    shelf = Shelf(engine.checkpoint)

    async def write(
        prompt: str, temperature: float, top_k: int, length: int, seed: int, top_p: float, min_p: float,
        repetition_penalty: float, stop: str, after: list[int], stream: int,
    ) -> AsyncIterator[str]:  # fmt: skip
        """Write on from a prompt, or from the tokens `after` it. Each answer is a frame, the last has the whole text.

        stream: which stream wrote the last of these tokens; if it is known still, they need not be read again.
        """
        try:
            settings = guard.settings(
                stop, temperature=temperature, top_k=top_k, length=length, seed=seed, top_p=top_p, min_p=min_p,
                repetition_penalty=repetition_penalty,
            )  # fmt: skip
            moment = shelf.moment(prompt, after, int(stream)) if after else None
            if moment:
                yield encode({"given": shelf.texts(prompt, after)})
            async with aclosing(engine.stream("" if moment else prompt, settings, moment)) as events:
                async for frame in frames(shelf.watch(events)):
                    yield frame
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None

    return write


def odds_reader(reader: Reader) -> Callable:
    """The endpoint behind the chart of the next token."""

    async def odds(prompt: str, after: list[int]) -> str:
        """The model's odds of every piece to come next: hundredths of a nat below the likeliest, by id."""
        try:
            logits = await asyncio.to_thread(reader.logits, prompt, after)
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        return encode((100 * (logits - logits.max())).round().astype(int).tolist())

    return odds


def memory_reader(reader: Reader) -> Callable:
    """The endpoint behind the pictures of what the model remembers."""

    async def memory(prompt: str, after: list[int]) -> str:
        """What the cells did at each of these tokens; lstm/web/memory.py says what the answer holds."""
        if not after:
            raise gr.Error("There is no text yet: write one first.", print_exception=False)
        try:
            trace = await asyncio.to_thread(reader.trace, prompt, after)
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        return encode(await asyncio.to_thread(pictures, trace))

    return memory


def vocabulary_teller(engine: Engine) -> Callable:
    """The endpoint that names the pieces."""

    def vocabulary() -> str:
        """What each piece looks like on its own, by id."""
        tokenizer = engine.checkpoint.tokenizer
        return encode([tokenizer.piece(i) for i in range(tokenizer.vocab_size)])

    return vocabulary


def model_teller(engine: Engine) -> Callable:
    """The endpoint behind the page on the model."""

    def model() -> str:
        """How the model came to be and how well it reads."""
        return encode(facts.everything(engine.checkpoint))

    return model
