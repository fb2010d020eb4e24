"""A text that is written elsewhere equals the one that is written here, however often its writer is lost."""

import asyncio
import random

import pytest
from engines import PROMPTS, VARIED, collect, core, request, until

from lstm import checkpoint, remote
from lstm.config import Refused, SamplingConfig
from lstm.engine import Busy, Engine
from lstm.remote import Lost, RemoteEngine, parts


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def run_remote(tiny, work, lose=lambda: False, monkeypatch=None):
    """Call work(remote engine, local engine); before each part, lose() says whether the writer is lost."""
    if monkeypatch:
        monkeypatch.setattr(remote, "PERIOD", 0.0)  # a part for nearly every token: many places to be lost at
        monkeypatch.setattr(remote, "_PAUSE", 0.0)

    async def main():
        engine = Engine(tiny)

        async def write(start, settings, watch, reached):
            stream = engine.stream("", settings, start, watch=watch, reached=reached)
            try:
                async for part in parts(stream, lambda: 0):
                    if lose():
                        raise Lost
                    yield part
            finally:
                await stream.aclose()

        try:
            return await asyncio.wait_for(work(RemoteEngine(tiny, lambda _: write), engine), 60)
        finally:
            engine.close()

    return asyncio.run(main())


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_texts_are_the_same_however_often_their_writer_is_lost(tiny, share, monkeypatch):
    draw = random.Random(3)

    async def work(far, near):
        pairs = []
        for n in range(24):
            pairs.append((await collect(far.stream(*request(n))), await collect(near.stream(*request(n)))))
        return pairs, far.moved

    pairs, moved = run_remote(tiny, work, lambda: draw.random() < share, monkeypatch)
    assert all(core(far) == core(near) for far, near in pairs)
    assert (moved > 10) == (share > 0)


def test_a_text_that_goes_on_from_a_moment_is_the_same_when_its_writer_is_lost(tiny, monkeypatch):
    """Also where the moment's text was told to its end, with half a character or the beginning of a stop held back."""
    draw = random.Random(5)

    async def work(far, near):
        for n in range(12):
            first = SamplingConfig(**VARIED[n % len(VARIED)], seed=n, length=20)
            begun = far.stream(PROMPTS[n % len(PROMPTS)], first)
            await collect(begun)
            more = SamplingConfig(temperature=1.0, seed=n + 1, length=30, stop=("the river", "zzz"))
            for written in (None, begun.moment().written // 2):
                moment = begun.moment(written)
                yield_far, yield_near = far.stream("", more, moment), near.stream("", more, moment)
                assert core(await collect(yield_far)) == core(await collect(yield_near))

    run_remote(tiny, work, lambda: draw.random() < 0.2, monkeypatch)


def test_every_moment_of_a_text_is_a_place_to_go_on_from(tiny):
    async def work(far, near):
        stream, settings = far.stream("The wolf", SamplingConfig(seed=4, length=150)), SamplingConfig(seed=9, length=8)
        await collect(stream)
        other = near.stream("The wolf", SamplingConfig(seed=4, length=150))
        await collect(other)
        for written in range(0, 151, 10):
            here, there = stream.moment(written), other.moment(written)
            assert (here.ids, here.written, here.told) == (there.ids, there.written, there.told)
            mine, theirs = far.stream("", settings, here), near.stream("", settings, there)
            assert core(await collect(mine)) == core(await collect(theirs))
        assert stream.moment().read > 100  # not all of it would be read again
        with pytest.raises(IndexError):
            stream.moment(151)

    run_remote(tiny, work)


def test_seconds_count_from_the_request_also_with_another_writer(tiny, monkeypatch):
    lost = iter([False] * 5 + [True] + [False] * 1000)

    async def work(far, near):
        return await collect(far.stream("The wolf", SamplingConfig(seed=1, length=40)))

    events = run_remote(tiny, work, lambda: next(lost), monkeypatch)
    seconds = [event.seconds for event in events]
    assert seconds == sorted(seconds)
    assert len({event.stream for event in events}) == 1


def test_a_reader_who_leaves_frees_the_writers_slot(tiny):
    async def work(far, near):
        stream = far.stream("The wolf", SamplingConfig(length=2000))
        await anext(stream)
        assert near.running == far.running == 1
        await stream.aclose()
        await until(lambda: near.running == 0)
        assert far.running == 0
        assert await collect(stream) == []

        task = asyncio.ensure_future(collect(far.stream("The wolf", SamplingConfig(length=2000))))
        await until(lambda: near.running == 1)
        task.cancel()
        await until(lambda: near.running == 0)
        assert far.stats().left == 2

    run_remote(tiny, work)


def test_what_the_writer_refuses_is_refused(tiny):
    async def work(far, near):
        with pytest.raises(Refused, match="shorten"):
            await anext(far.stream("wolf " * 9000, SamplingConfig()))
        near.close()
        with pytest.raises(Busy, match="try again"):
            await anext(far.stream("The wolf", SamplingConfig()))
        assert far.running == 0

    run_remote(tiny, work)


def test_a_text_that_nobody_can_write_is_given_up_in_one_sentence(tiny, monkeypatch):
    monkeypatch.setattr(remote, "MOVES", 4)

    async def work(far, near):
        with pytest.raises(Busy, match="no machine"):
            await collect(far.stream("The wolf", SamplingConfig()))
        assert (far.running, far.moved) == (0, 4)

    run_remote(tiny, work, lambda: True, monkeypatch)
