"""The page's Python: guards, frames, and what app.py says when it cannot start."""

import asyncio
import json
import math

import pytest
from conftest import run

from lstm.engine import TokenEvent
from lstm.web import guard
from lstm.web.frames import frames

GOOD = ["Once", 0.8, 40, 20, 7, 1, 0, 1, "", [], -1, ""]
CHECK = guard.validator(guard.WRITE)


def event(position: int, text: str, ended: str = "") -> TokenEvent:
    return TokenEvent(
        stream=0, position=position, id=position, text=text, log_probability=-math.log(4), entropy=math.log(2),
        rank=0, alternatives=((1, 0.5), (2, 0.25)), seconds=0.01 * position, ended=ended,
    )  # fmt: skip


async def collect(events: list[TokenEvent], pause: float) -> list[dict]:
    async def stream():
        for each in events:
            await asyncio.sleep(pause)
            yield each

    return [json.loads(frame) async for frame in frames(stream())]


def test_frames_add_up_to_the_text_and_the_whole_is_sent_once():
    words = [f" word{n}" for n in range(40)]
    events = [event(n, word, "length" if n == 39 else "") for n, word in enumerate(words)]
    *growing, whole = asyncio.run(collect(events, 0.005))
    tokens = [token for frame in growing for token in frame["tokens"]]
    assert "".join(token[1] for token in tokens) == whole["text"] == "".join(words)
    assert [frame["from"] for frame in growing] == [
        sum(len(f["tokens"]) for f in growing[:n]) for n in range(len(growing))
    ]
    assert whole["ended"] == "length"
    assert whole["count"] == 40
    assert tokens[3] == [3, " word3", 2.0, 1.0, 0, [1, 0.5, 2, 0.25]]


def test_the_first_token_goes_at_once_and_the_others_at_most_twenty_times_a_second():
    events = [event(n, "x", "length" if n == 59 else "") for n in range(60)]
    *growing, _ = asyncio.run(collect(events, 0.005))
    assert len(growing[0]["tokens"]) == 1
    assert 3 < len(growing) < 14


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        (0, None, "text"), (0, ["a"], "text"), (0, "x" * 20_001, "shorten"), (0, "a\ud800b", "half a character"),
        (1, "0.8", "number"), (1, True, "number"), (1, math.nan, "number"), (1, math.inf, "number"),
        (1, -0.1, "0 to 2"),
        (2, 1.5, "whole"), (2, 201, "200"), (2, None, "whole"), (3, 0, "1 to 2,000"), (3, 10**400, "2,000"),
        (3, {}, "whole"), (4, -1, "seed"), (4, 2**31, "seed"), (5, 1.1, "Top-p"), (6, "", "Min-p"),
        (7, 0.5, "penalty"), (8, None, "text"),
        (8, "a\n" * 9, "at most 8"), (8, "x" * 101, "100"), (9, None, "list"), (9, [1, -1], "no token"),
        (9, [True], "no token"),
        (9, [0] * 4001, "4,000"), (10, 0.5, "whole"), (11, 5, "text"),
    ],
)  # fmt: skip
def test_the_guard_refuses_by_name(place, value, word):
    values = [*GOOD]
    values[place] = value
    verdicts = CHECK(*values)
    assert [v["is_valid"] for v in verdicts] == [n != place for n in range(len(GOOD))]
    assert word.lower() in verdicts[place]["message"].lower()
    assert len(verdicts[place]["message"]) < 120


def test_the_guard_lets_good_values_pass():
    assert all(v["is_valid"] for v in CHECK("", 0, 0, 2000, 0, 0, 0, 1, "", [], -1, ""))
    hot = ["\x00 \u202e {{x}} ${y}", 2.0, 200.0, 1.0, 2**31 - 1, 1.0, 1.0, 2.0, "a\nb", [0, 65_535], 3.0, "other"]
    assert all(v["is_valid"] for v in CHECK(*hot))


def test_settings_reach_the_engine_as_they_were_meant():
    settings = guard.settings(
        "\\n\\n\nThe end\n", temperature=0, top_k=40.0, length=5.0, seed=7.0, top_p=0.9, min_p=0, repetition_penalty=1
    )
    assert settings.stop == ("\n\n", "The end")
    assert (settings.top_k, settings.length, settings.seed) == (40, 5, 7)


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_checkpoint_one_sentence_says_how_to_train_one(tmp_path, broken):
    if broken:
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "manifest.json").write_text("{}")
    done = run("app.py", "--checkpoint", tmp_path / "none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "train" in done.stderr
