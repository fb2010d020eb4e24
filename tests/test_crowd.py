"""The simulated crowd against the theory of queues, where there is one. Seeds are fixed."""

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from conftest import ROOT

pytest.importorskip("simpy")
sys.path.insert(0, str(ROOT / "benchmarks"))

from crowd import least
from queues import Crowd, Setting, length

pytestmark = pytest.mark.cluster
STEP = 1 / 32.5  # seconds: a text of 32 tokens takes a second, with the half a step until it is let in
BARE = Setting(
    readers=1, replicas=1, base=STEP, each=0.0, prompt=0, hop=0.0, line=10**6,
    length=lambda random: random.expovariate(1 / 32),
)  # fmt: skip


def thinking(mean: float) -> Callable[[Random], float]:
    """Exponential, so that a large crowd asks like a Poisson process; seconds."""
    return lambda random: random.expovariate(1 / mean)


def mean_wait(setting: Setting, seeds: int, seconds: float) -> float:
    """Seconds for a slot: what is left of the wait for the first token, which comes 1.5 steps after that."""
    first = [each for n in range(seeds) for each in Crowd(replace(setting, seed=n)).run(60, seconds).first]
    return sum(first) / len(first) - 1.5 * STEP


def test_the_line_is_that_of_erlang():
    servers, load, readers = 3, 0.5, 1000
    offered = servers * load  # texts a second
    last = offered**servers / math.factorial(servers) / (1 - load)
    waiting = last / (sum(offered**n / math.factorial(n) for n in range(servers)) + last)  # Erlang's C
    expected = waiting / (servers - offered)
    setting = replace(BARE, readers=readers, slots=servers, think=thinking(readers / offered - 1 - expected))
    assert mean_wait(setting, seeds=3, seconds=8000) == pytest.approx(expected, rel=0.05)


def test_the_less_loaded_of_two_is_as_good_as_theory_says():
    """Mitzenmacher (2001): at a load of x the mean wait is the sum of x^(2^i - 2) over i > 1, in mean texts."""
    replicas, load, readers = 60, 0.6, 3000
    expected = sum(load ** (2**i - 2) for i in range(2, 8))
    think = thinking(readers / replicas / load - 1 - expected)
    setting = replace(BARE, readers=readers, replicas=replicas, slots=1, think=think)
    assert mean_wait(setting, seeds=2, seconds=250) == pytest.approx(expected, rel=0.05)


def test_texts_that_slow_each_other_are_as_many_as_in_a_closed_network():
    """Birth and death, whatever the lengths' distribution: Baskett, Chandy, Muntz and Palacios (1975)."""
    readers, base, each = 1000, 130e-6, 60e-6
    setting = Setting(readers, 1, base, each, prompt=0)
    texts = [Crowd(replace(setting, seed=n)).run(60, 200).texts for n in range(2)]
    draws = Random(0)
    mean = sum(length(draws) for _ in range(100_000)) / 100_000 + 0.5
    weights = [1.0]
    for n in range(1, 65):
        weights.append(weights[-1] * (readers - n + 1) / 30 * mean * (base + each * n) / n)
    expected = sum(n * weight for n, weight in enumerate(weights)) / sum(weights)
    assert sum(texts) / len(texts) == pytest.approx(expected, rel=0.05)


def test_who_is_refused_comes_back_and_the_same_seed_gives_the_same_crowd():
    setting = Setting(400, 1, base=1e-3, each=1e-3, line=4, pages=2, again=5.0)
    one, other = Crowd(setting).run(20, 30), Crowd(setting).run(20, 30)
    assert one == other
    assert 0 < one.refused < one.asked
    assert one.texts == pytest.approx(64, rel=0.01)
    assert 0.9 < one.tokens * 65e-3 / 64 < 1  # prompts take the rest


def test_the_least_number_that_is_enough():
    asked = []
    assert least(5, lambda n: asked.append(n) or n >= 12) == 12
    assert len(asked) == len(set(asked)) < 8
