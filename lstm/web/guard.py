"""Everything that reaches a handler from outside is checked here, before it may wait in the queue."""

from typing import Any

import gradio as gr

from lstm.config import Refused, SamplingConfig

LONGEST_PROMPT = 20_000  # characters
LONGEST_TEXT = 2_000  # tokens
HOTTEST = 2.0
WIDEST = 200  # top-k
LAST_SEED = 2**31 - 1


def check_write(prompt: Any, temperature: Any, top_k: Any, length: Any, seed: Any) -> list[dict]:
    """One verdict for each input of `write`, in their order, as Gradio's validators give them."""
    return [
        _verdict(_text_problem("The prompt", prompt, LONGEST_PROMPT)),
        _verdict(_number_problem("Temperature", temperature, 0, HOTTEST)),
        _verdict(_number_problem("Top-k", top_k, 0, WIDEST, whole=True)),
        _verdict(_number_problem("Length", length, 1, LONGEST_TEXT, whole=True)),
        _verdict(_number_problem("The seed", seed, 0, LAST_SEED, whole=True)),
    ]


def settings(temperature: float, top_k: float, length: float, seed: float) -> SamplingConfig:
    """Checked numbers as the engine takes them. Raises gr.Error with one sentence."""
    try:
        return SamplingConfig.checked(
            temperature=float(temperature), top_k=int(top_k), length=int(length), seed=int(seed)
        )
    except Refused as refusal:
        raise gr.Error(str(refusal), print_exception=False) from None


def _verdict(problem: str) -> dict:
    return gr.validate(not problem, problem)


def _text_problem(name: str, value: Any, longest: int) -> str:
    if not isinstance(value, str):
        return f"{name} must be text."
    if len(value) > longest:
        return f"{name} has {len(value):,} characters: shorten it to {longest:,}."
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"{name} has half a character at position {error.start}: leave it out."
    return ""


def _number_problem(name: str, value: Any, low: float, high: float, whole: bool = False) -> str:
    kind = "a whole number" if whole else "a number"
    wanted = f"{name} must be {kind} from {low:,} to {high:,}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{wanted}."
    if not low <= value <= high or (whole and value != int(value)):  # NaN fails the first comparison
        return f"{wanted}, not {str(value)[:20]}."
    return ""
