"""What is drawn has the distribution that the settings ask for, and no row depends on another."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm import sampling
from lstm.config import Refused, SamplingConfig

V = 700


def make_logits(rows: int, seed: int = 0, pieces: int = V) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, pieces)) * 2.5).astype(np.float32)


def expected(logits: np.ndarray, config: SamplingConfig) -> dict[int, float]:
    """The exact distribution of one row, written out with loops."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if config.temperature == 0:
        return {order[0]: 1.0}
    odds = {i: math.exp((float(logits[i]) - float(logits[order[0]])) / config.temperature) for i in order}
    kept = order[: config.top_k or None]
    total, mass, nucleus = sum(odds[i] for i in kept), 0.0, []
    for i in kept:
        if mass > config.top_p * total:
            break
        nucleus.append(i)
        mass += odds[i]
    kept = [i for i in nucleus if odds[i] >= config.min_p]
    total = sum(odds[i] for i in kept)
    return {i: odds[i] / total for i in kept}


def draws(logits: np.ndarray, config: SamplingConfig, uniform: np.ndarray) -> np.ndarray:
    rows = np.repeat(logits[None], len(uniform), axis=0)
    return sampling.choose(rows, sampling.Settings.of([config] * len(uniform), len(logits)), uniform).ids


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 0.7, "top_k": 12},
        {"temperature": 1.3, "top_k": 0, "top_p": 0.6},
        {"temperature": 1.0, "top_k": 300, "top_p": 0.8},
        {"temperature": 1.0, "top_k": 50, "min_p": 0.1},
        {"temperature": 1.0, "top_k": 0, "min_p": 0.02},
        {"temperature": 0.9, "top_k": 40, "top_p": 0.9, "min_p": 0.05},
    ],
    ids=str,
)
def test_frequencies_agree_with_the_exact_distribution(settings):
    config, logits = SamplingConfig(**settings), make_logits(1)[0]
    exact = expected(logits, config)
    size = 20_000
    counts = Counter(draws(logits, config, np.random.default_rng(1).random(size)).tolist())
    assert counts.keys() <= exact.keys()
    often = [i for i in exact if exact[i] * size >= 5]
    cells = [(counts[i], exact[i] * size) for i in often]
    if len(often) < len(exact):
        cells.append((size - sum(counts[i] for i in often), size - sum(exact[i] * size for i in often)))
    chi_squared = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    freedom = len(cells) - 1
    # Wilson and Hilferty 1931: chi-squared at one chance in a million
    assert chi_squared < freedom * (1 - 2 / (9 * freedom) + 4.75 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("top_k", [1, 3, 10, 64, 256, 257, 699, 700, 5000])
def test_top_k_keeps_exactly_the_likeliest(top_k):
    logits = make_logits(1)[0]
    config = SamplingConfig(temperature=5.0, top_k=top_k)
    seen = set(draws(logits / 50, config, (np.arange(20_000) + 0.5) / 20_000).tolist())
    assert seen == set(np.argsort(-logits, kind="stable")[:top_k].tolist())


def test_the_extreme_draws_take_the_first_and_the_last_candidate():
    logits = make_logits(1)[0]
    order = np.argsort(-logits, kind="stable")
    config = SamplingConfig(temperature=1.0, top_k=7)
    assert draws(logits, config, np.array([0.0, np.nextafter(1, 0)])).tolist() == [order[0], order[6]]


def test_greedy_takes_the_likeliest_and_of_equals_the_first():
    logits = make_logits(50)
    logits[:, 600] = logits[:, 5] = logits.max(axis=1) + 1
    greedy = sampling.Settings.of([SamplingConfig(temperature=0, top_k=0)] * 50, V)
    assert sampling.choose(logits, greedy, np.full(50, 0.999)).ids.tolist() == [5] * 50


def test_top_p_zero_keeps_one():
    logits = make_logits(1)[0]
    config = SamplingConfig(temperature=5.0, top_k=0, top_p=0.0)
    assert set(draws(logits, config, np.linspace(0, 0.999, 50)).tolist()) == {int(logits.argmax())}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 900), st.integers(1, 900), st.integers(0, 9))
def test_ranking_equals_a_full_stable_sort_even_with_ties(rows, pieces, count, seed):
    logits = np.round(make_logits(rows, seed, pieces))
    count = min(count, pieces)
    assert np.array_equal(sampling.ranked(logits, count), np.argsort(-logits, axis=1, kind="stable")[:, :count])


VARIED = [
    {"temperature": 0.0},
    {"temperature": 0.8, "top_k": 40},
    {"temperature": 1.2, "top_k": 0},
    {"temperature": 1.0, "top_k": 0, "top_p": 0.9},
    {"temperature": 0.9, "top_k": 400, "min_p": 0.01},
    {"temperature": 1.0, "repetition_penalty": 1.5},
    {"temperature": 1.0, "top_k": 0, "repetition_penalty": 2.0},
]


def test_a_row_draws_the_same_alone_and_among_others():
    configs = [SamplingConfig(**VARIED[n % len(VARIED)]) for n in range(64)]
    logits, uniform = make_logits(64), np.random.default_rng(5).random(64)
    recent = [list(range(n, n + 90)) for n in range(64)]
    together = sampling.choose(logits, sampling.Settings.of(configs, V), uniform, recent)
    for n in range(64):
        row = slice(n, n + 1)
        alone = sampling.choose(logits[row], sampling.Settings.of(configs[row], V), uniform[row], recent[row])
        for part, whole in zip(alone, together, strict=True):
            assert np.array_equal(part, whole[row])


def test_the_models_own_distribution_is_told_whatever_the_settings():
    logits = make_logits(7)
    configs = [SamplingConfig(**each) for each in VARIED]
    choice = sampling.choose(logits, sampling.Settings.of(configs, V), np.full(7, 0.5), [list(range(300))] * 7)
    exact = logits.astype(np.float64)
    exact = np.exp(exact - exact.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    order = np.argsort(-exact, axis=1, kind="stable")
    assert np.allclose(choice.log_probability, np.log(exact[np.arange(7), choice.ids]), atol=1e-5)
    assert np.allclose(choice.entropy, -(exact * np.log(exact)).sum(axis=1), atol=1e-5)
    assert np.array_equal(choice.alternatives, order[:, : sampling.ALTERNATIVES])
    assert np.allclose(choice.probabilities, np.take_along_axis(exact, choice.alternatives, axis=1), atol=1e-6)
    assert [order[n].tolist().index(i) for n, i in enumerate(choice.ids)] == choice.rank.tolist()


def test_the_penalty_looks_back_64_tokens_and_lowers_each_once():
    logits = make_logits(1)
    rows = sampling.Settings.of([SamplingConfig(repetition_penalty=2.0)], V)
    read = [*range(100, 200), 150, 150]
    lowered = sampling.penalised(logits, rows, [read])
    recent = set(read[-sampling.MEMORY :])
    for i in range(V):
        value = logits[0, i]
        wanted = (value / 2 if value > 0 else value * 2) if i in recent else value
        assert lowered[0, i] == wanted


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_draws_can_be_looked_up_in_any_order(seed, positions):
    straight = sampling.Uniform(seed)
    row = [straight.at(position) for position in range(max(positions) + 1)]
    jumping = sampling.Uniform(seed)
    assert [jumping.at(position) for position in positions] == [row[position] for position in positions]
    assert all(0 <= number < 1 for number in row)


def test_seeds_give_different_draws():
    rows = {tuple(sampling.Uniform(seed).at(position) for position in range(4)) for seed in range(100)}
    assert len(rows) == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_p", 1.1), ("min_p", -0.1), ("repetition_penalty", 0.5), ("stop", ("",)), ("stop", ("x",) * 9), ("seed", -1)],
)
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(Refused, match=name):
        SamplingConfig.checked(**{name: value})


def test_one_stop_string_may_be_given_by_itself():
    assert SamplingConfig.checked(stop="The end").stop == ("The end",)
