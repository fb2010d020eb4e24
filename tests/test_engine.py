"""Texts do not depend on each other, moments are exact, and nobody's trouble is another's."""

import asyncio
import gc
import threading
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm import checkpoint
from lstm.batch import Batch
from lstm.config import Refused, SamplingConfig
from lstm.engine import LONGEST_PROMPT, Busy, Engine, Moment, write
from lstm.runtime import Rows, State, open_runtime
from lstm.stream import AHEAD
from lstm.text import StopStrings, Text, TokenEvent

PROMPTS = ["The wolf", "", "Once upon a time\n\n     “Oh, hear", "the cub " * 30, "naïve café 🐺"]
VARIED = [
    {"temperature": 0.0},
    {"temperature": 1.0, "top_k": 0},
    {"temperature": 0.8, "top_k": 40},
    {"temperature": 1.2, "top_k": 0, "top_p": 0.9},
    {"temperature": 0.9, "min_p": 0.02, "repetition_penalty": 1.3},
    {"temperature": 1.5, "stop": ("e", "the")},
]


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def run_engine(tiny, work, **options):
    """Call work(engine) in an event loop of its own, with an engine that is closed afterwards."""

    async def main():
        engine = Engine(tiny, **options)
        try:
            return await asyncio.wait_for(work(engine), 60)
        finally:
            engine.close()

    return asyncio.run(main())


async def collect(stream) -> list[TokenEvent]:
    return [event async for event in stream]


async def until(condition) -> None:
    """Wait for what another thread is about to do."""
    while not condition():
        await asyncio.sleep(0.002)


def core(events: list[TokenEvent]) -> list[tuple]:
    """All that may not depend on who else is there."""
    return [(e.position, e.id, e.text, e.log_probability, e.entropy, e.rank, e.alternatives, e.ended) for e in events]


def request(n: int) -> tuple[str, SamplingConfig]:
    settings = SamplingConfig(**VARIED[n % len(VARIED)], seed=n, length=5 + n * 7 % 50)
    return PROMPTS[n % len(PROMPTS)], settings


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


SETTINGS = SamplingConfig(seed=4, length=150, temperature=1.1)


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


def zeros(tiny) -> State:
    hidden, cell = open_runtime(tiny).initial_state(1)
    return State(hidden[:, 0], cell[:, 0])


def finish(batch: Batch, text: Text) -> list[TokenEvent]:
    batch.join(text)
    events = []
    while len(batch):
        events += [event for _, event in batch.turn()]
    return events


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


@pytest.mark.parametrize("way", ["close", "break", "cancel", "forget"])
def test_a_reader_who_goes_frees_the_slot(tiny, way):
    async def work(engine):
        stream = engine.stream("The wolf", SamplingConfig(length=10_000))
        assert (await anext(stream)).position == 0
        assert engine.running == 1
        if way == "close":
            await stream.aclose()
        elif way == "break":
            async with aclosing(stream):
                async for _ in stream:
                    break
        elif way == "cancel":
            task = asyncio.create_task(collect(stream))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            del stream
            gc.collect()
        tokens = engine.stats().tokens
        await until(lambda: engine.running == 0)
        assert engine.stats().tokens < tokens + AHEAD
        assert engine.stats().left == 1

    run_engine(tiny, work)


def test_a_stream_that_was_closed_ends(tiny):
    async def work(engine):
        stream = engine.stream("The wolf", SamplingConfig(length=10_000))
        await anext(stream)
        await stream.aclose()
        rest = await collect(stream)
        assert len(rest) <= AHEAD
        assert await collect(stream) == []

    run_engine(tiny, work)


def test_a_reader_who_does_not_read_pauses_his_text_alone_and_is_dropped(tiny):
    async def work(engine):
        slow = engine.stream("The wolf", SamplingConfig(length=10_000))
        await anext(slow)
        other = await collect(engine.stream("The wolf", SamplingConfig(length=500, seed=2)))
        assert len(other) == 500
        await until(lambda: engine.running == 0)
        assert engine.stats().dropped == 1
        with pytest.raises(Refused, match="nobody read"):
            await collect(slow)

    run_engine(tiny, work, patience=0.3)


def test_a_slow_reader_loses_no_token(tiny):
    settings = SamplingConfig(length=400, seed=3)

    async def work(engine):
        events = []
        async for event in engine.stream("The wolf", settings):
            events.append(event)
            if event.position % 100 == 0:
                await asyncio.sleep(0.1)
        assert core(events) == core(list(write(tiny, "The wolf", settings)))

    run_engine(tiny, work)


def test_beyond_slots_and_line_the_refusal_is_clear_and_the_rest_is_served(tiny):
    async def work(engine):
        settings = SamplingConfig(length=200)
        results = await asyncio.gather(
            *(collect(engine.stream("The wolf", settings)) for _ in range(9)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, Busy)]
        assert len(refused) == 9 - 2 - 3
        assert "try again" in str(refused[0])
        assert [len(result) for result in results if isinstance(result, list)] == [200] * 5
        assert engine.stats().refused == 4

    run_engine(tiny, work, slots=2, line=3)


def test_a_free_slot_goes_to_the_reader_who_holds_fewest(tiny):
    async def work(engine):
        order = []

        async def one(reader, n):
            await collect(engine.stream("The wolf", SamplingConfig(length=100), reader=reader))
            order.append((reader, n))

        greedy = [asyncio.create_task(one("greedy", n)) for n in range(8)]
        await asyncio.sleep(0)
        modest = asyncio.create_task(one("modest", 0))
        await asyncio.gather(*greedy, modest)
        assert order.index(("modest", 0)) <= 3

    run_engine(tiny, work, slots=2)


def test_a_deadline_ends_a_text_with_its_reason_and_turns_away_who_still_waits(tiny):
    async def work(engine):
        first = asyncio.create_task(collect(engine.stream("The wolf", SamplingConfig(length=10_000))))
        await until(lambda: engine.running == 1)
        engine._deadline = 0.1
        with pytest.raises(Busy, match="no place became free"):
            await collect(engine.stream("The wolf", SamplingConfig()))
        events = await first
        assert events[-1].ended == "deadline"
        assert [event.ended for event in events[:-1]] == [""] * (len(events) - 1)

    run_engine(tiny, work, slots=1, deadline=1)


def test_an_error_in_one_text_ends_it_alone(tiny, monkeypatch):
    real = Text.write

    def write_or_break(self, drawn, gates=None):
        if self.settings.seed == 3 and self.written == 10:
            raise MemoryError("one text's trouble")
        return real(self, drawn, gates)

    monkeypatch.setattr(Text, "write", write_or_break)

    async def work(engine):
        streams = (engine.stream("The wolf", SamplingConfig(length=40, seed=seed)) for seed in range(6))
        results = await asyncio.gather(*map(collect, streams), return_exceptions=True)
        assert isinstance(results.pop(3), MemoryError)
        for seed, events in zip((0, 1, 2, 4, 5), results, strict=True):
            assert core(events) == core(list(write(tiny, "The wolf", SamplingConfig(length=40, seed=seed))))
        assert engine.stats().failed == 1

    run_engine(tiny, work)


def test_numbers_that_are_not_finite_end_their_text_alone(tiny):
    settings = SamplingConfig(length=20)
    batch = Batch(open_runtime(tiny), 3)
    ids = tuple(tiny.tokenizer.encode("The wolf"))
    texts = []
    for spoilt in (False, True, False):
        hidden, cell = (part.copy() for part in zeros(tiny))
        if spoilt:
            cell[0, 0] = np.nan
        texts.append(Text(Moment(ids, 0, 0, State(hidden, cell)), settings, tiny.tokenizer))
        texts[-1].read = 1  # so that the prompt's remembered state does not mend it
        batch.join(texts[-1])
    events = {text: [] for text in texts}
    while len(batch):
        for text, event in batch.turn():
            events[text].append(event)
    assert [type(event) for event in events[texts[1]]] == [ArithmeticError]
    assert core(events[texts[0]]) == core(events[texts[2]])
    assert len(events[texts[0]]) == 20


def test_when_a_step_fails_every_text_hears_of_it_and_the_engine_goes_on(tiny, monkeypatch):
    async def work(engine):
        broken = threading.Event()
        real = Rows.step

        def step(self, count):
            if broken.is_set():
                raise OSError("the runtime's trouble")
            return real(self, count)

        monkeypatch.setattr(Rows, "step", step)
        streams = [engine.stream("The wolf", SamplingConfig(length=10_000, seed=seed)) for seed in range(3)]
        for stream in streams:
            await anext(stream)
        broken.set()
        results = await asyncio.gather(*map(collect, streams), return_exceptions=True)
        assert [type(result) for result in results] == [OSError] * 3
        broken.clear()
        assert len(await collect(engine.stream("The wolf", SamplingConfig(length=30)))) == 30

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


def test_gates_come_where_they_are_asked_for_and_are_the_steps_own(tiny):
    async def work(engine):
        watched = await collect(engine.stream("The wolf", SamplingConfig(length=12), watch=True))
        plain = await collect(engine.stream("The wolf", SamplingConfig(length=12)))
        assert core(watched) == core(plain)
        assert all(event.gates is None for event in plain)
        runtime = open_runtime(tiny)
        state = runtime.initial_state(1)
        ids = tiny.tokenizer.encode("\n") + tiny.tokenizer.encode("The wolf")
        for i in ids:
            _, state, gates = runtime.step(np.array([i]), state)
        for event in watched:
            for ours, theirs in zip(event.gates, gates, strict=True):
                assert np.array_equal(ours, theirs[:, 0])
            _, state, gates = runtime.step(np.array([event.id]), state)

    run_engine(tiny, work)


@pytest.mark.parametrize("prompt", ["\ud800", "x" * 70_000])
def test_a_prompt_that_cannot_be_read_is_refused_and_takes_no_slot(tiny, prompt):
    async def work(engine):
        with pytest.raises(Refused):
            await collect(engine.stream(prompt, SamplingConfig(length=5)))
        assert (engine.running, engine.waiting) == (0, 0)
        assert len(await collect(engine.stream("The wolf", SamplingConfig(length=5)))) == 5

    assert len(tiny.tokenizer.encode("x" * 70_000)) > LONGEST_PROMPT
    run_engine(tiny, work)


def test_a_moment_of_another_model_is_refused_and_hurts_nobody(tiny):
    async def work(engine):
        other = asyncio.create_task(collect(engine.stream("The wolf", SamplingConfig(length=300))))
        stream = engine.stream("The wolf", SamplingConfig(length=5))
        await collect(stream)
        good = stream.moment()
        small = State(*(part[:, :-1] for part in good.state))
        for wrong in (
            replace(good, ids=(*good.ids[:-1], tiny.config.vocab_size)),
            replace(good, ids=(-1, *good.ids[1:])),
            replace(good, ids=()),
            replace(good, read=len(good.ids)),
            replace(good, written=len(good.ids) + 1),
            replace(good, state=small),
        ):
            with pytest.raises(Refused, match="another model"):
                await collect(engine.stream("", SamplingConfig(length=5), wrong))
        assert len(await other) == 300
        assert len(await collect(engine.stream("", SamplingConfig(length=5), good))) == 5

    run_engine(tiny, work)


def test_closing_ends_every_text_and_the_thread(tiny):
    async def main():
        engine = Engine(tiny, slots=2)
        streams = [engine.stream("The wolf", SamplingConfig(length=10_000, seed=seed)) for seed in range(4)]
        tasks = [asyncio.create_task(collect(stream)) for stream in streams]
        await until(lambda: engine.running == 2 and engine.waiting == 2)
        await asyncio.to_thread(engine.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Busy] * 4
        with pytest.raises(Busy, match="stopping"):
            await collect(engine.stream("The wolf", SamplingConfig()))
        engine.close()
        assert (engine.running, engine.waiting) == (0, 0)

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() <= before + 1  # the event loop's helper may stay


def test_stats_count(tiny):
    async def work(engine):
        await asyncio.gather(*(collect(engine.stream("The wolf", SamplingConfig(length=50))) for _ in range(4)))
        stats = engine.stats()
        assert (stats.running, stats.waiting, stats.finished, stats.tokens) == (0, 0, 4, 200)
        assert stats.tokens_per_second > 0
        assert 0 < stats.turn_ms[0] <= stats.turn_ms[1]

    run_engine(tiny, work)


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
