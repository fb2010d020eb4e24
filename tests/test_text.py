"""A text is the same alone and among others, from any of its moments, and with stop strings."""

import asyncio

import pytest
from engines import collect, core, finish, request, run_engine, zeros
from hypothesis import given
from hypothesis import strategies as st

from lstm import checkpoint
from lstm.batch import Batch
from lstm.config import SamplingConfig
from lstm.engine import Moment, write
from lstm.runtime import Rows, open_runtime
from lstm.text import StopStrings, Text

SETTINGS = SamplingConfig(seed=4, length=150, temperature=1.1)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def test_a_text_is_the_same_alone_and_among_others_who_come_and_go(tiny):
    async def together(engine):
        async def late(n):
            await asyncio.sleep(n % 7 * 0.003)
            return await collect(engine.stream(*request(n)))

        return await asyncio.gather(*(late(n) for n in range(60)))

    whole = run_engine(tiny, together, slots=24, line=64)
    for n, events in enumerate(whole):
        assert core(events) == core(list(write(tiny, *request(n))))


def test_parts_add_up_to_the_text_and_events_tell_where_they_stand(tiny):
    for n in range(5):
        events = list(write(tiny, "The wolf", SamplingConfig(seed=n, length=60, temperature=1.5, top_k=0)))
        assert [event.position for event in events] == list(range(60))
        assert [event.ended for event in events] == [""] * 59 + ["length"]
        decoder = tiny.tokenizer.decoder()
        for i in tiny.tokenizer.encode("\n") + tiny.tokenizer.encode("The wolf"):
            decoder.push(i)
        expected = "".join(decoder.push(event.id) for event in events) + decoder.flush()
        assert "".join(event.text for event in events) == expected


def test_a_rewound_text_is_written_again_as_it_was_from_any_token(tiny):
    async def work(engine):
        stream = engine.stream("The old bear", SETTINGS)
        straight = await collect(stream)
        for written in [*range(0, 150, 11), 1, 2, 149]:
            settings = SETTINGS.model_copy(update={"length": 150 - written})
            again = await collect(engine.stream("", settings, stream.moment(written)))
            assert core(again) == core(straight[written:])

    run_engine(tiny, work)


def test_a_text_goes_on_from_its_end_as_if_it_had_not_stopped(tiny):
    async def work(engine):
        straight = await collect(engine.stream("The old bear", SETTINGS))
        stream = engine.stream("The old bear", SETTINGS.model_copy(update={"length": 60}))
        events = await collect(stream)
        stream = engine.stream("", SETTINGS.model_copy(update={"length": 40}), stream.moment())
        events += await collect(stream)
        events += await collect(engine.stream("", SETTINGS.model_copy(update={"length": 50}), stream.moment()))
        assert [event.id for event in events] == [event.id for event in straight]
        assert "".join(event.text for event in events) == "".join(event.text for event in straight)

    run_engine(tiny, work)


def test_a_branch_shares_the_beginning_and_leaves_the_first_text_as_it_was(tiny):
    async def work(engine):
        stream = engine.stream("The old bear", SETTINGS)
        straight = await collect(stream)
        moment = stream.moment(50)
        other = await collect(engine.stream("", SETTINGS.model_copy(update={"seed": 5, "length": 100}), moment))
        assert other[0].position == 50
        assert [event.id for event in other] != [event.id for event in straight[50:]]
        again = await collect(engine.stream("", SETTINGS.model_copy(update={"length": 100}), moment))
        assert core(again) == core(straight[50:])

    run_engine(tiny, work)


def test_a_prompt_after_a_moment_reads_as_the_whole_text_would(tiny):
    async def work(engine):
        stream = engine.stream("The old bear", SETTINGS)
        await collect(stream)
        moment = stream.moment(30)
        added = await collect(engine.stream("\n\nAt dawn", SETTINGS, moment))
        ids = [*moment.ids, *tiny.tokenizer.encode("\n\nAt dawn", after=tiny.tokenizer.decode(moment.ids[1:]))]
        whole = Text(Moment(tuple(ids), 0, 0, zeros(tiny)), SETTINGS, tiny.tokenizer)
        assert core(added) == core(finish(Batch(open_runtime(tiny), 1), whole))

    run_engine(tiny, work)


def test_a_moment_with_stop_strings_knows_what_was_held_back(tiny):
    settings = SETTINGS.model_copy(update={"stop": (" the cub ran by", "zzz")})

    async def work(engine):
        stream = engine.stream("The old bear", settings)
        straight = await collect(stream)
        for written in range(0, len(straight), 3):
            rest = await collect(engine.stream("", settings, stream.moment(written)))
            ours = "".join(event.text for event in straight[:written] + rest[: len(straight) - written])
            if straight[-1].ended == "stop":
                assert ours == "".join(event.text for event in straight)
            assert [e.id for e in rest[: len(straight) - written]] == [e.id for e in straight[written:]]

    run_engine(tiny, work)


def test_a_moment_costs_few_steps_and_few_states_however_long_the_text(tiny):
    async def work(engine):
        stream = engine.stream("the cub " * 200, SamplingConfig(length=3000, seed=1))
        await collect(stream)
        moments = [stream.moment(written) for written in range(3001)]
        assert max(len(moment.ids) - moment.read for moment in moments) <= 129  # of more than 3,000 ids
        assert len({moment.read for moment in moments}) <= 32

    run_engine(tiny, work)


def test_a_moment_outside_the_text_is_an_error(tiny):
    async def work(engine):
        stream = engine.stream("The wolf", SamplingConfig(length=5))
        with pytest.raises(RuntimeError):
            stream.moment()
        await collect(stream)
        for written in (-1, 6):
            with pytest.raises(IndexError):
                stream.moment(written)

    run_engine(tiny, work)


def test_a_prompt_that_was_read_is_not_read_again(tiny, monkeypatch):
    steps = []
    real = Rows.step
    monkeypatch.setattr(Rows, "step", lambda self, count: steps.append(count) or real(self, count))
    batch, start = Batch(open_runtime(tiny), 2), zeros(tiny)
    prompt = "the cub " * 30

    def count(prompt: str) -> int:
        ids = (*tiny.tokenizer.encode("\n"), *tiny.tokenizer.encode(prompt))
        steps.clear()
        text = Text(Moment(ids, 0, 0, start), SamplingConfig(length=1), tiny.tokenizer)
        finish(batch, text)
        return len(steps)

    length = len(tiny.tokenizer.encode(prompt)) + 1
    assert count(prompt) == length
    assert count(prompt) == 1
    assert count(prompt + "ran by the river") < 32 + len(tiny.tokenizer.encode("ran by the river")) + 2
    assert count("another") == len(tiny.tokenizer.encode("another")) + 1


def cut(text: str, stops: list[str]) -> str:
    """The text up to the stop string that is complete first, by reading it character by character."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))]
    return text


@given(st.lists(st.text("abc", max_size=4), max_size=8), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_stop_strings_cut_the_text_however_it_comes(parts, stops):
    finder, shown = StopStrings(stops), ""
    for part in parts:
        text, found = finder.push(part)
        shown += text
        if found:
            break
    else:
        shown += finder.flush()
    assert shown == cut("".join(parts), stops)
