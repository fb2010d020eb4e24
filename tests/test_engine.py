"""Nobody's trouble is another's: readers who go, wait or do not read, errors, refusals, the end."""

import asyncio
import gc
import threading
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from engines import collect, core, run_engine, until, zeros

from lstm import checkpoint
from lstm.batch import Batch
from lstm.config import Refused, SamplingConfig
from lstm.engine import LONGEST_PROMPT, Busy, Engine, Moment, write
from lstm.runtime import Rows, State, open_runtime
from lstm.stream import AHEAD
from lstm.text import Text

SETTINGS = SamplingConfig(seed=4, length=150, temperature=1.1)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


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
