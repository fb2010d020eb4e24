"""The page's layout: what stands where, and which action of the panel each control calls."""

import json
from collections.abc import Mapping
from pathlib import Path

import gradio as gr
from gradio.components import Component

from lstm.web import endpoints, facts, guard
from lstm.web.library import Library

ASSETS = Path(__file__).parent / "assets"
MOUNT = (
    "import(new URL('jungle/{module}.js', document.baseURI)).then((module) => module.mount(element, props, trigger))"
)
PRESETS = {
    "Careful": {"temperature": 0.5, "top_k": 20},
    "Balanced": {"temperature": 0.8, "top_k": 40},
    "Wild": {"temperature": 1.2, "top_k": 200},
    "Greedy": {"temperature": 0, "top_k": 0},
}
PLAIN = {"top_p": 1, "min_p": 0, "repetition_penalty": 1, "stop": ""}  # what a preset sets besides
FIRST = {**PRESETS["Balanced"], **PLAIN, "length": 200, "seed": 7}  # what the page comes with


def build(library: Library, readers: int) -> gr.Blocks:
    """The page for the checkpoints of a folder, with at most `readers` streams side by side."""
    with gr.Blocks(title="Jungle LSTM", analytics_enabled=False, fill_height=True, fill_width=True) as demo:
        about = facts.of(library.open().checkpoint)
        _fixed("header", about)
        with gr.Tabs(elem_id="rooms"):
            with gr.Tab("Write"), gr.Row(elem_id="room"):
                with gr.Column(elem_id="desk", min_width=0):
                    controls = _controls()
                    _buttons(controls)
                with gr.Column(elem_id="wall", min_width=0):
                    panel = _fixed("panel", about)
            with gr.Tab("Compare"):
                _compare(library.names())
            with gr.Tab("Model"):
                _fixed("model")
        _actions(panel, controls)
        endpoints.add(panel, library, controls, readers)
    return demo


def _controls() -> dict[str, Component]:
    """The settings of a text by the names that the engine knows them by, in the order of the API."""
    prompt = gr.Textbox(
        "", label="Prompt", lines=3, max_lines=6, placeholder="How does the story begin?", elem_id="prompt"
    )  # fmt: skip
    with gr.Column(elem_id="settings", min_width=0):
        with gr.Row(elem_id="presets"):
            for name, values in PRESETS.items():
                _set(gr.Button(name, min_width=0), {**PLAIN, **values})
        temperature = gr.Slider(
            0, guard.HOTTEST, FIRST["temperature"], step=0.05, label="Temperature", elem_id="temperature",
            info="0 takes the likeliest token, more is bolder",
        )  # fmt: skip
        top_k = gr.Slider(
            0, guard.WIDEST, FIRST["top_k"], step=1, label="Top-k", elem_id="top-k",
            info="draws among so many likeliest, 0 among all",
        )  # fmt: skip
        length = gr.Slider(
            1, guard.LONGEST_TEXT, FIRST["length"], step=1, label="Length", elem_id="length", info="tokens to write"
        )  # fmt: skip
        with gr.Row(elem_id="seeds"):
            seed = gr.Number(
                FIRST["seed"], label="Seed", precision=0, minimum=0, maximum=guard.LAST_SEED, elem_id="seed",
                min_width=0,
                info="same seed, same text",
            )  # fmt: skip
            gr.Checkbox(False, label="Keep", elem_id="keep-seed", min_width=0, container=False)
        folded = _folded()
        _fixed("odds")
    return {
        "prompt": prompt, "temperature": temperature, "top_k": top_k, "length": length, "seed": seed, **folded
    }  # fmt: skip


def _folded() -> dict[str, Component]:
    """Settings that few readers need."""
    with gr.Accordion("More settings", open=False, elem_id="more"):
        top_p = gr.Slider(
            0,
            1,
            1,
            step=0.01,
            label="Top-p",
            elem_id="top-p",
            info="draws among the likeliest with so much of the odds",
        )
        min_p = gr.Slider(
            0, 1, 0, step=0.01, label="Min-p", elem_id="min-p", info="leaves out what has less than so much of the best"
        )
        penalty = gr.Slider(
            1, guard.STERNEST, 1, step=0.05, label="Repetition penalty", elem_id="penalty",
            info="above 1, recent tokens are less likely again",
        )  # fmt: skip
        stop = gr.Textbox(
            "",
            label="Stop at",
            lines=1,
            max_lines=3,
            elem_id="stop-strings",
            info=r"ends the text there; one a line, \n for a break",
        )
        _set(gr.Button("Reset all settings", elem_id="reset", min_width=0), FIRST)
    return {"top_p": top_p, "min_p": min_p, "repetition_penalty": penalty, "stop": stop}


def _compare(models: list[str]) -> None:
    """The same prompt and seed under two settings or two models, side by side."""
    with gr.Column(elem_id="pair"):
        with gr.Row(elem_id="shared"):
            prompt = gr.Textbox("Mowgli crept through the long grass", label="Prompt", lines=1, max_lines=2, scale=4)
            length = gr.Slider(1, guard.LONGEST_TEXT, 120, step=1, label="Length", info="tokens to write", min_width=0)
            seed = gr.Number(7, label="Seed", precision=0, minimum=0, maximum=guard.LAST_SEED, min_width=0)
            compare = gr.Button("Compare", variant="primary", elem_id="compare-both", min_width=0)
            stop = gr.Button("Stop", elem_id="compare-stop", min_width=0)
        sides = {}
        with gr.Row(elem_id="sides"):
            for side, temperature, top_k in [("left", 0.5, 40), ("right", 1.0, 40)]:
                with gr.Row():
                    sides[f"{side}_temperature"] = gr.Slider(
                        0, guard.HOTTEST, temperature, step=0.05, label=f"Temperature, {side}", min_width=0
                    )
                    sides[f"{side}_top_k"] = gr.Slider(
                        0, guard.WIDEST, top_k, step=1, label=f"Top-k, {side}", min_width=0
                    )
                    sides[f"{side}_model"] = gr.Dropdown(
                        models, value=models[0], label=f"Model, {side}", min_width=0, visible=len(models) > 1
                    )
        _fixed("compare")
    values = {"prompt": prompt, "length": length, "seed": seed, **sides}
    for button, action in [(compare, "compare"), (stop, "stop")]:
        script = _script(action, values, "jungleCompare")
        button.click(None, list(values.values()), None, js=script, api_visibility="private")


def _buttons(controls: Mapping[str, Component]) -> None:
    with gr.Row(elem_id="buttons"):
        for name, action in [
            ("Generate", "generate"), ("Stop", "stop"), ("Settings", "fold"),
            ("Continue", "proceed"), ("Undo", "undo"), ("Again", "again"),
        ]:  # fmt: skip
            kind = "primary" if name == "Generate" else "secondary"
            button = gr.Button(name, variant=kind, elem_id=action, min_width=0)
            everything = list(controls.values())
            button.click(None, everything, None, js=_script(action, controls), api_visibility="private")


def _actions(panel: gr.HTML, controls: Mapping[str, Component]) -> None:
    """The panel hears of every change of a control, and may set them all at once (an example, a link, a file)."""
    everything = list(controls.values())
    changes = [panel.load, *(control.change for control in everything)]
    gr.on(changes, None, everything, None, js=_script("changed", controls), api_visibility="private")
    panel.select(None, None, everything, js="() => window.jungle.wanted()", api_visibility="private")


def _set(button: gr.Button, values: Mapping) -> None:
    """Bind a button to a change of some controls."""
    script = f"() => window.jungle?.set({{...window.jungle.settings, ...{json.dumps(values)}}})"
    button.click(None, None, None, js=script, api_visibility="private")


def _script(action: str, values: Mapping[str, Component], panel: str = "jungle") -> str:
    """An action of a panel, which gets the controls' values by name."""
    names = json.dumps(list(values))
    return f"(...values) => window.{panel}?.{action}(Object.fromEntries({names}.map((name, n) => [name, values[n]])))"


def _fixed(name: str, value: dict | None = None) -> gr.HTML:
    """A piece of page from assets/NAME.html, brought to life by assets/NAME.js. Nothing is ever put into its markup."""
    markup = (ASSETS / f"{name}.html").read_text(encoding="utf-8")
    script = MOUNT.format(module=name)
    return gr.HTML(value, html_template=markup, js_on_load=script, apply_default_css=False, elem_id=name)
