"""Everything that reaches a handler from outside is checked here, before it may wait in the queue.

A check takes a value as it was sent and gives a sentence that says what is wrong with it, or "".
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from lstm.config import Refused, SamplingConfig

LONGEST_PROMPT = 20_000  # characters
LONGEST_TEXT = 2_000  # tokens
HOTTEST = 2.0
WIDEST = 200  # top-k
STERNEST = 2.0  # repetition penalty
LAST_SEED = 2**31 - 1
MOST_PIECES = 65_536
STOPS = 8

Check = Callable[[Any], str]


def text(name: str, longest: int) -> Check:
    """A string of at most so many characters that UTF-8 can write."""

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return f"{name} must be text."
        if len(value) > longest:
            return f"{name} has {len(value):,} characters: shorten it to {longest:,}."
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"{name} has half a character at position {error.start}: leave it out."
        return ""

    return check


def number(name: str, low: float, high: float, whole: bool = False) -> Check:
    """A number between two others, these included."""
    wanted = f"{name} must be {'a whole number' if whole else 'a number'} from {low:,} to {high:,}"

    def check(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{wanted}."
        if not low <= value <= high or (whole and value != int(value)):  # NaN fails the first comparison
            return f"{wanted}, not {str(value)[:20]}."
        return ""

    return check


def written(value: Any) -> str:
    """Ids of the tokens that a text begins with."""
    if not isinstance(value, list) or len(value) > 2 * LONGEST_TEXT:
        return f"The text so far must be a list of at most {2 * LONGEST_TEXT:,} tokens: begin a new one."
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < MOST_PIECES for i in value):
        return "The text so far holds something that is no token: begin a new one."
    return ""


def stops(value: Any) -> str:
    """Stop strings, one a line."""
    if problem := text("The list of stops", 1_000)(value):
        return problem
    if len(stop_strings(value)) > STOPS:
        return f"Give at most {STOPS} stops, one a line."
    return "Each stop may have 100 characters." if any(len(stop) > 100 for stop in stop_strings(value)) else ""


PROMPT = text("The prompt", LONGEST_PROMPT)
MODEL = text("The name of the model", 100)
WRITE: dict[str, Check] = {
    "prompt": PROMPT,
    "temperature": number("Temperature", 0, HOTTEST),
    "top_k": number("Top-k", 0, WIDEST, whole=True),
    "length": number("Length", 1, LONGEST_TEXT, whole=True),
    "seed": number("The seed", 0, LAST_SEED, whole=True),
    "top_p": number("Top-p", 0, 1),
    "min_p": number("Min-p", 0, 1),
    "repetition_penalty": number("The repetition penalty", 1, STERNEST),
    "stop": stops,
    "after": written,
    "stream": number("The stream", -1, 2**53, whole=True),
    "model": MODEL,
}
READ: dict[str, Check] = {"prompt": PROMPT, "after": written, "model": MODEL}
TELL: dict[str, Check] = {"model": MODEL}
GENERATE: dict[str, Check] = {name: check for name, check in WRITE.items() if name not in ("after", "stream")}
SCORE: dict[str, Check] = {
    "text": text("The text", LONGEST_PROMPT),
    "context": text("The context", LONGEST_PROMPT),
    "model": MODEL,
}
NEXT: dict[str, Check] = {"prompt": PROMPT, "count": number("Count", 1, WIDEST, whole=True), "model": MODEL}


def validator(checks: dict[str, Check]) -> Callable[..., list[dict]]:
    """What Gradio runs before the queue: a verdict for each value, in the order of the checks."""

    def validate(*values: Any) -> list[dict]:
        problems = [check(value) for check, value in zip(checks.values(), values, strict=True)]
        return [gr.validate(not problem, problem) for problem in problems]

    return validate


def check(checks: dict[str, Check], values: list) -> None:
    """Raises Refused with the first that is wrong with the values, which are in the order of the checks."""
    for verdict, value in zip(checks.values(), values, strict=True):
        if problem := verdict(value):
            raise Refused(problem)


def ids(after: list[int], vocab_size: int) -> list[int]:
    """The same ids. Raises Refused if one is none of the model's."""
    if any(i >= vocab_size for i in after):
        raise Refused("the text so far was written by another model: begin a new one")
    return after


def settings(stop: str, **numbers: float) -> SamplingConfig:
    """Checked values as the engine takes them; a browser may send 40 as 40.0. Raises Refused."""
    whole = {name: int(value) if value == int(value) else value for name, value in numbers.items()}
    return SamplingConfig.checked(**whole, stop=stop_strings(stop))


def stop_strings(value: str) -> tuple[str, ...]:
    r"""One stop a line; \n in a line stands for a line break."""
    return tuple(line.replace("\\n", "\n") for line in value.split("\n") if line)
