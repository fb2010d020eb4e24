"""What the page says of the cells equals what the written-out equations give."""

import base64

import numpy as np
import pytest

from lstm import checkpoint
from lstm.web.memory import pictures
from lstm.web.reader import Reader


@pytest.fixture(scope="module")
def told(tiny_checkpoint):
    """A model, some tokens, their trace and their pictures."""
    opened = checkpoint.load(tiny_checkpoint)
    tokens = opened.tokenizer.encode("the grey wolf ran by the river at night. The old bear slept.")
    trace = Reader(opened).trace("Once", tokens)
    return opened, tokens, trace, pictures(trace)


def test_the_trace_obeys_the_equations(told):
    _, tokens, trace, _ = told
    assert trace.cell.shape[0] == len(tokens)
    before = trace.cell[:-1]
    cell = trace.forget[1:] * before + trace.input[1:] * trace.candidate[1:]
    np.testing.assert_allclose(trace.cell[1:], cell, atol=1e-5)
    np.testing.assert_allclose(trace.hidden, trace.output * np.tanh(trace.cell), atol=1e-5)


def test_the_gates_are_those_of_the_torch_model(told):
    torch = pytest.importorskip("torch")
    from lstm.results import open_checkpoint

    opened, tokens, trace, _ = told
    _, model = open_checkpoint(opened.path)
    state = model.initial_state(1)
    ids = [*opened.tokenizer.encode("\n"), *opened.tokenizer.encode("Once"), *tokens]
    with torch.no_grad():
        for n, i in enumerate(ids):
            _, state, gates = model.step(torch.tensor([i]), state)
            if (t := n - len(ids) + len(tokens)) >= 0:  # the graph's weights have 8 bits
                np.testing.assert_allclose(trace.forget[t], gates.forget[:, 0], atol=0.03)
                np.testing.assert_allclose(trace.input[t], gates.input[:, 0], atol=0.03)


def test_the_maps_show_the_units_that_are_named(told):
    _, tokens, trace, drawn = told
    for layer, units in enumerate(drawn["units"]):
        assert len(set(units)) == len(units)
        for name in ("forget", "cell"):
            bytes_of = np.frombuffer(base64.b64decode(drawn["maps"][name][layer]), np.uint8).reshape(-1, len(tokens))
            values = bytes_of / 255.0
            if name == "cell":
                values = (2 * values - 1) * drawn["scale"]["cell"]
            np.testing.assert_allclose(
                values, getattr(trace, name)[:, layer, units].T, atol=drawn["scale"]["cell"] / 200
            )


def test_half_lives_are_the_running_product_of_forget_gates(told):
    *_, trace, drawn = told
    T, L, H = trace.forget.shape
    forget = trace.forget.reshape(T, L * H).astype(float)
    for t in range(0, T, 7):
        lives = []
        for unit in range(L * H):
            held, n = 1.0, 0
            while t + n + 1 < T and held > 0.5:
                n += 1
                held *= forget[t + n, unit]
            lives.append(n if held <= 0.5 else T - t)
        median, slowest, _, _ = drawn["half"][t]
        assert abs(slowest) == max(lives)
        assert (slowest < 0) == (max(lives) == T - t)
        assert abs(median) == int(np.median(lives))


def test_the_numbers_of_a_unit_run_through_the_equations(told):
    *_, drawn = told
    for rows in drawn["changed"]:
        sizes = []
        for _, _, i, f, g, o, before, cell, hidden in rows:
            assert cell == pytest.approx(f * before + i * g, abs=2e-3)
            assert hidden == pytest.approx(o * np.tanh(cell), abs=2e-3)
            sizes.append(abs(cell - before))
        assert sizes == sorted(sizes, reverse=True)


def test_one_token_is_enough(told):
    opened, tokens, *_ = told
    drawn = pictures(Reader(opened).trace("", tokens[:1]))
    assert drawn["half"][0][0] < 0
    assert len(drawn["changed"]) == 1
