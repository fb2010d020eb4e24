"""The graph is the model: float32 agrees with torch, 8 bits cost next to nothing, rows do not touch."""

import numpy as np
import onnx
import pytest
import torch
from conftest import make_text

from lstm import checkpoint, export
from lstm.config import ModelConfig, Refused
from lstm.model import LanguageModel
from lstm.runtime import Runtime

TEXT = make_text(60, seed=5)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


def random_model(layers: int) -> tuple[LanguageModel, dict[str, np.ndarray], ModelConfig]:
    torch.manual_seed(layers)
    config = ModelConfig(vocab_size=300, embedding_size=24, hidden_size=40, layers=layers)
    model = LanguageModel(config).eval()
    return model, {name: values.numpy() for name, values in model.state_dict().items()}, config


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_graph_in_float32_equals_the_written_out_step(layers):
    model, weights, config = random_model(layers)
    runtime = Runtime(export.build(weights, config, quantise=False), config)
    state, torch_state = runtime.initial_state(3), model.initial_state(3)
    for ids in np.random.default_rng(0).integers(0, 300, (20, 3)):
        logits, state, gates = runtime.step(ids, state)
        torch_logits, torch_state, torch_gates = model.step(torch.from_numpy(ids), torch_state)
        pairs = [(logits, torch_logits), *zip(state, torch_state, strict=True), *zip(gates, torch_gates, strict=True)]
        for ours, theirs in pairs:
            assert ours.shape == theirs.shape
            assert np.allclose(ours, theirs, atol=1e-5)


def integer_product(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """x (B, K) times matrix (N, K) transposed, as the graph should do it: rows in 7 bits, weights in 8, exact sums."""
    by_row = np.abs(matrix).max(axis=1, keepdims=True) / np.float32(127)
    by_x = np.abs(x).max(axis=1, keepdims=True) * np.float32(1 / 63)
    whole = np.floor(x / by_x + np.float32(64.5)).astype(np.int64) - 64
    sums = whole @ np.rint(matrix / by_row).astype(np.int64).T
    assert np.abs(whole).max() == 63
    return sums.astype(np.float32) * by_row.T * by_x


def test_a_product_in_8_bits_equals_integer_arithmetic():
    """With one layer, whose hidden state is 0, the gates are those of the embedding's product alone."""
    _, weights, config = random_model(1)
    runtime = Runtime(export.build(weights, config), config)
    ids = np.arange(16)
    _, _, gates = runtime.step(ids, runtime.initial_state(16))
    scale = np.abs(weights["embedding"]).max(axis=1, keepdims=True) / np.float32(127)
    x = (np.rint(weights["embedding"] / scale) * scale)[ids]
    both = np.concatenate([weights["weight_x.0"], weights["weight_h.0"]], axis=1)
    z = integer_product(np.concatenate([x, np.zeros((16, 40), np.float32)], axis=1), both) + weights["bias.0"]
    wanted = 1 / (1 + np.exp(-z[:, :40].astype(np.float64)))
    assert np.allclose(gates.input[0], wanted, atol=1e-6)


def test_no_processor_can_overflow_its_sums_of_pairs():
    """Without VNNI two products of an unsigned and a signed byte are summed in 16 bits."""
    assert 2 * (2 * export._CENTRE - 1) * 127 < 2**15


def test_rows_do_not_depend_on_each_other():
    _, weights, config = random_model(2)
    runtime = Runtime(export.build(weights, config), config)
    read = np.random.default_rng(0).integers(0, 300, (12, 64))
    whole = runtime.initial_state(64)
    for ids in read:
        logits, whole, gates = runtime.step(ids, whole)
    for size in (1, 2, 3, 4, 7, 16, 33):
        for start in (0, 64 - size):
            rows = slice(start, start + size)
            state = runtime.initial_state(size)
            for ids in read[:, rows]:
                part, state, part_gates = runtime.step(ids, state)
            assert np.array_equal(part, logits[rows])
            for ours, all_rows in zip((*state, *part_gates), (*whole, *gates), strict=True):
                assert np.array_equal(ours, all_rows[:, rows])


def test_only_standard_operators_are_used(tiny):
    graph = onnx.load_from_string(export.build(tiny.weights(), tiny.config))
    assert {opset.domain for opset in graph.opset_import} == {""}
    assert {node.domain for node in graph.graph.node} == {""}
    assert not {node.op_type for node in graph.graph.node} & {"Loop", "Scan", "If", "LSTM"}


def test_the_shared_matrix_is_stored_once(tiny):
    graph = onnx.load_from_string(export.build(tiny.weights(), tiny.config))
    values = {constant.name: np.prod(constant.dims) for constant in graph.graph.initializer}
    parameters = sum(weight.size for weight in tiny.weights().values())
    scales = sum(size for name, size in values.items() if name.endswith(".scale"))
    assert sum(values.values()) - scales - 5 <= parameters


@pytest.mark.parametrize("text", [TEXT, ""], ids=["validation", "own"])
def test_a_trained_model_is_exported_at_no_cost(tiny, text):
    graph = export.export(tiny.weights(), tiny.config, tiny.tokenizer, text)
    assert graph == export.build(tiny.weights(), tiny.config)
    loss = export.quantisation_loss(graph, tiny.weights(), tiny.config, tiny.tokenizer, text)
    assert 0 < abs(loss) < export.TOLERANCE
    exact = export.build(tiny.weights(), tiny.config, quantise=False)
    assert export.quantisation_loss(exact, tiny.weights(), tiny.config, tiny.tokenizer, text) == 0


@pytest.mark.parametrize("text", [TEXT, ""], ids=["validation", "own"])
def test_weights_that_8_bits_would_spoil_are_refused(tiny, text):
    """The same function in float32, written so that one number of each row of the embedding drowns the others."""
    weights = {name: values.copy() for name, values in tiny.weights().items()}
    weights["embedding"][:, 0] *= 10_000
    weights["weight_x.0"][:, 0] /= 10_000
    weights["projection"][0] /= 10_000
    with pytest.raises(Refused, match="8 bits cost"):
        export.export(weights, tiny.config, tiny.tokenizer, text)


@pytest.mark.parametrize("length", [1, 60, 400])
def test_a_short_text_is_enough(tiny, length):
    graph = export.build(tiny.weights(), tiny.config)
    assert 0 < abs(export.quantisation_loss(graph, tiny.weights(), tiny.config, tiny.tokenizer, TEXT[:length])) < 0.05
