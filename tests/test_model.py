import pytest
import torch

from lstm.config import ModelConfig
from lstm.fused import lstm_layer
from lstm.model import Dropout, LanguageModel, State

CLOSE = {"rtol": 0, "atol": 1e-5}


def make(layers: int = 3, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    return LanguageModel(ModelConfig(vocab_size=300, embedding_size=24, hidden_size=32, layers=layers)).eval()


def some_state(model: LanguageModel, rows: int) -> State:
    return State(*(torch.randn_like(part) for part in model.initial_state(rows)))


def test_stepping_equals_reading_a_window():
    model, ids = make(), torch.randint(300, (5, 17))
    state = some_state(model, 5)
    logits, last = model(ids, state)
    for t in range(ids.shape[1]):
        stepped, state, _ = model.step(ids[:, t], state)
        torch.testing.assert_close(stepped, logits[:, t], **CLOSE)
    torch.testing.assert_close(state, last, **CLOSE)


def test_it_equals_torchs_own_lstm():
    model, ids = make(layers=1), torch.randint(300, (4, 9))
    reference = torch.nn.LSTM(24, 32, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(model.weight_x[0])
        reference.weight_hh_l0.copy_(model.weight_h[0])
        reference.bias_ih_l0.copy_(model.bias[0])
        reference.bias_hh_l0.zero_()
        state = some_state(model, 4)
        y, (hidden, cell) = reference(model.embedding[ids], tuple(state))
        wanted = y @ model.projection.t() @ model.embedding.t() + model.output_bias
        logits, last = model(ids, state)
        stepped, one, _ = model.step(ids[:, 0], state)
    torch.testing.assert_close(logits, wanted, **CLOSE)
    torch.testing.assert_close(last, State(hidden, cell), **CLOSE)
    torch.testing.assert_close(stepped, wanted[:, 0], **CLOSE)
    assert one.hidden.shape == (1, 4, 32)


def test_upper_layers_equal_torchs_with_the_skip_added():
    model, ids = make(layers=2), torch.randint(300, (2, 7))
    x = model.embedding[ids]
    for layer in range(2):
        reference = torch.nn.LSTM(x.shape[-1], 32, batch_first=True)
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
        for name, values in zip(names, (model.weight_x[layer], model.weight_h[layer], model.bias[layer]), strict=True):
            getattr(reference, name).data.copy_(values)
        reference.bias_hh_l0.data.zero_()
        y = reference(x)[0]
        x = y + x if layer else y
    logits, _ = model(ids, model.initial_state(2))
    torch.testing.assert_close(logits, x @ model.projection.t() @ model.embedding.t() + model.output_bias, **CLOSE)


def test_the_gates_are_what_the_cell_was_made_of():
    model, ids = make(), torch.randint(300, (4,))
    state = some_state(model, 4)
    _, after, gates = model.step(ids, state)
    torch.testing.assert_close(gates.forget * state.cell + gates.input * gates.candidate, after.cell)
    torch.testing.assert_close(gates.output * after.cell.tanh(), after.hidden)


def test_embedding_and_output_are_one_matrix():
    names = dict(make().named_parameters())
    assert sum(p.shape[0] == 300 for p in names.values()) == 2  # the matrix and the output's bias


@pytest.mark.parametrize("rows", [1, 6])
def test_the_bfloat16_loop_has_torchs_gradients(rows):
    torch.manual_seed(0)
    T, E, H = 11, 20, 16
    inputs = [(torch.randn(T, rows, E) * 0.5).bfloat16().float(), torch.randn(rows, H), torch.randn(rows, H)]
    weights = [(torch.randn(4 * H, n) * 0.2).bfloat16().float() for n in (E, H)] + [torch.zeros(4 * H)]
    scale = torch.randn(T, rows, H)

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        leaves = [t.clone().requires_grad_() for t in (*inputs, *weights)]
        y, hidden, cell = lstm_layer(leaves[0].to(dtype), *leaves[1:])
        loss = (y.float() * scale).sum() + 2 * hidden.float().sum() + 3 * cell.float().sum()
        return [y.float(), *torch.autograd.grad(loss, leaves)]

    for ours, exact in zip(gradients(torch.bfloat16), gradients(torch.float32), strict=True):
        assert (ours - exact).norm() < 0.02 * exact.norm()


def test_dropout_only_acts_in_training():
    model, ids = make(), torch.randint(300, (2, 5))
    rates = Dropout(0.3, 0.3, 0.3, 0.3, 0.3)
    state = model.initial_state(2)
    assert torch.equal(model(ids, state, rates)[0], model(ids, state)[0])
    model.train()
    assert not torch.equal(model(ids, state, rates)[0], model(ids, state)[0])
    assert torch.equal(model(ids, state)[0], model(ids, state)[0])
