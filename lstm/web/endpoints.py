"""What the panel asks of the page: each answer is JSON, each question is guarded.

The panel reads Gradio's queue itself, so that no frame is lost on the way to the screen. In every question, `model` is
the name of a checkpoint, "" for the one that the page was started with.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager

import gradio as gr
from gradio.components import Component

from lstm.config import Refused
from lstm.web import facts, guard
from lstm.web.frames import encode, frames
from lstm.web.library import Library
from lstm.web.memory import pictures


def add(panel: gr.HTML, library: Library, controls: Mapping[str, Component], readers: int) -> None:
    """Put the endpoints behind the panel's submit event, which only gives them a name: the browser never fires it."""
    after, stream = gr.JSON([], visible=False, label="after"), gr.Number(-1, visible=False, label="stream")
    model, answer = gr.Textbox("", visible=False, label="model"), gr.Textbox(visible=False, label="answer")

    controlled = [*controls.values(), after, stream, model]
    expose(panel, writer(library), controlled, answer, guard.WRITE, "write", readers)
    for function in _readers(library):
        expose(panel, function, [controls["prompt"], after, model], answer, guard.READ, "read", 4)
    for function in _tellers(library):
        expose(panel, function, [model], answer, guard.TELL, "tell", 8)


def expose(
    panel: gr.HTML, function: Callable, inputs: list[Component], output: Component, checks: dict[str, guard.Check],
    lane: str, limit: int, visibility: str = "undocumented",
) -> None:  # fmt: skip
    """Let a function be called by its name, once the checks have passed, at most `limit` at a time in its lane."""
    panel.submit(
        function,
        inputs,
        output,
        validator=guard.validator(checks),
        preprocess=False,  # the guard sees what was sent, not what Gradio makes of it
        api_name=function.__name__,
        api_visibility=visibility,
        concurrency_id=lane,
        concurrency_limit=limit,
        show_progress="hidden",
    )


def writer(library: Library) -> Callable[..., AsyncIterator[str]]:
    """The only way in to the engines."""

    async def write(
        prompt: str, temperature: float, top_k: int, length: int, seed: int, top_p: float, min_p: float,
        repetition_penalty: float, stop: str, after: list[int], stream: int, model: str, request: gr.Request,
    ) -> AsyncIterator[str]:  # fmt: skip
        """Write on from a prompt, or from the tokens `after` it. Each answer is a frame, the last has the whole text.

        stream: which stream wrote the last of these tokens; if it is known still, they need not be read again.
        """
        await request.state.call.heard.wait()  # nothing is written for nobody
        with in_one_sentence():
            opened = await asyncio.to_thread(library.open, model)
            settings = guard.settings(
                stop, temperature=temperature, top_k=top_k, length=length, seed=seed, top_p=top_p, min_p=min_p,
                repetition_penalty=repetition_penalty,
            )  # fmt: skip
            moment = None
            if guard.ids(after, opened.checkpoint.config.vocab_size):
                moment = opened.shelf.moment(prompt, after, int(stream))
                yield encode({"given": opened.shelf.texts(prompt, after)})
            async with aclosing(opened.engine.stream("" if moment else prompt, settings, moment)) as events:
                async for frame in frames(opened.shelf.watch(events)):
                    yield frame

    return write


def _readers(library: Library) -> Iterator[Callable]:
    async def odds(prompt: str, after: list[int], model: str) -> str:
        """The model's odds of every piece to come next: hundredths of a nat below the likeliest, by id."""
        with in_one_sentence():
            opened = await asyncio.to_thread(library.open, model)
            guard.ids(after, opened.checkpoint.config.vocab_size)
            logits = await asyncio.to_thread(opened.reader.logits, prompt, after)
        return encode((100 * (logits - logits.max())).round().astype(int).tolist())

    async def memory(prompt: str, after: list[int], model: str) -> str:
        """What the cells did at each of these tokens; lstm/web/memory.py says what the answer holds."""
        with in_one_sentence():
            opened = await asyncio.to_thread(library.open, model)
            if not guard.ids(after, opened.checkpoint.config.vocab_size):
                raise Refused("there is no text yet: write one first")
            trace = await asyncio.to_thread(opened.reader.trace, prompt, after)
        return encode(await asyncio.to_thread(pictures, trace))

    yield from (odds, memory)


def _tellers(library: Library) -> Iterator[Callable]:
    def vocabulary(model: str) -> str:
        """What each piece looks like on its own, by id."""
        with in_one_sentence():
            tokenizer = library.open(model).checkpoint.tokenizer
        return encode([tokenizer.piece(i) for i in range(tokenizer.vocab_size)])

    def model(model: str) -> str:
        """How a model came to be and how well it reads, and which others there are."""
        with in_one_sentence():
            about = facts.everything(library.open(model).checkpoint)
        return encode({**about, "models": library.names()})

    yield from (vocabulary, model)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """What the person can mend is told to them, and not to the log."""
    try:
        yield
    except Refused as refusal:
        raise gr.Error(str(refusal), print_exception=False) from None
