"""The page's layout: what stands where, and which action each control calls. The panel itself lives in assets/."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import gradio as gr
from gradio.components import Component

from lstm.engine import Engine
from lstm.web import facts, guard
from lstm.web.frames import frames

ASSETS = Path(__file__).parent / "assets"
MOUNT = (
    "import(new URL('jungle/{module}.js', document.baseURI)).then((module) => module.mount(element, props, trigger))"
)


def build(engine: Engine, readers: int) -> gr.Blocks:
    """The page for one engine, with at most `readers` streams side by side."""
    with gr.Blocks(title="Jungle LSTM", analytics_enabled=False, fill_height=True, fill_width=True) as demo:
        _fixed("header", value=facts.of(engine.checkpoint))
        with gr.Row(elem_id="room"):
            with gr.Column(elem_id="desk", min_width=0):
                controls = _controls()
                _buttons(controls)
            with gr.Column(elem_id="wall", min_width=0):
                panel = _fixed("panel")
        _actions(panel, controls)
        _writing(engine, panel, controls, readers)
    return demo


def _controls() -> dict[str, Component]:
    """The settings of a text by the names that the engine knows them by, in the order of the API."""
    prompt = gr.Textbox(label="Prompt", lines=3, max_lines=6, placeholder="How does the story begin?", elem_id="prompt")
    with gr.Column(elem_id="settings", min_width=0):
        temperature = gr.Slider(
            0, guard.HOTTEST, 0.8, step=0.05, label="Temperature", elem_id="temperature",
            info="0 takes the likeliest token, more is bolder",
        )  # fmt: skip
        top_k = gr.Slider(
            0, guard.WIDEST, 40, step=1, label="Top-k", elem_id="top-k",
            info="draws among so many likeliest, 0 among all",
        )  # fmt: skip
        length = gr.Slider(
            1, guard.LONGEST_TEXT, 200, step=1, label="Length", elem_id="length", info="tokens to write"
        )  # fmt: skip
        with gr.Row(elem_id="seeds"):
            seed = gr.Number(
                7, label="Seed", precision=0, minimum=0, maximum=guard.LAST_SEED, elem_id="seed", min_width=0,
                info="same seed, same text",
            )  # fmt: skip
            gr.Checkbox(False, label="Keep", elem_id="keep-seed", min_width=0, container=False)
    return {"prompt": prompt, "temperature": temperature, "top_k": top_k, "length": length, "seed": seed}


def _buttons(controls: Mapping[str, Component]) -> None:
    with gr.Row(elem_id="buttons"):
        generate = gr.Button("Generate", variant="primary", elem_id="generate", min_width=0)
        proceed = gr.Button("Continue", elem_id="continue", min_width=0)
        stop = gr.Button("Stop", elem_id="stop", min_width=0)
        fold = gr.Button("Settings", elem_id="fold", min_width=0)
    _call(generate, "generate", controls)
    _call(proceed, "proceed", controls)
    _call(stop, "stop")
    _call(fold, "fold")


def _actions(panel: gr.HTML, controls: Mapping[str, Component]) -> None:
    """The panel hears of every change of a control, and may set them all at once (an example, a link, a file)."""
    everything = list(controls.values())
    changes = [panel.load, *(control.change for control in everything)]
    gr.on(changes, None, everything, None, js=_script("changed", controls), api_visibility="private")
    panel.select(None, None, everything, js="() => window.jungle.wanted()", api_visibility="private")


def _writing(engine: Engine, panel: gr.HTML, controls: Mapping[str, Component], readers: int) -> None:
    """The endpoint that writes. The panel reads its queue itself, so that no frame is lost on the way to the screen."""

    async def write(prompt: str, temperature: float, top_k: int, length: int, seed: int) -> AsyncIterator[str]:
        """Write on from a prompt. Each answer is a frame (JSON), the last one holds the whole text."""
        async for frame in frames(engine.stream(prompt, guard.settings(temperature, top_k, length, seed))):
            yield frame

    panel.submit(
        write,
        list(controls.values()),
        gr.Textbox(visible=False, label="frame"),
        validator=guard.check_write,
        preprocess=False,  # the guard sees what was sent, not what Gradio makes of it
        api_name="write",
        concurrency_limit=readers,
        concurrency_id="engine",
        show_progress="hidden",
    )


def _fixed(name: str, value: dict | None = None) -> gr.HTML:
    """A piece of page from assets/NAME.html, brought to life by assets/NAME.js. Nothing is ever put into its markup."""
    markup = (ASSETS / f"{name}.html").read_text(encoding="utf-8")
    return gr.HTML(
        value, html_template=markup, js_on_load=MOUNT.format(module=name), apply_default_css=False, elem_id=name
    )  # fmt: skip


def _call(button: gr.Button, action: str, values: Mapping[str, Component] | None = None) -> None:
    values = values or {}
    button.click(None, list(values.values()), None, js=_script(action, values), api_visibility="private")


def _script(action: str, values: Mapping[str, Component]) -> str:
    """An action of the panel, which gets the controls' values by name."""
    names = json.dumps(list(values))
    return f"(...values) => window.jungle?.{action}(Object.fromEntries({names}.map((name, n) => [name, values[n]])))"
