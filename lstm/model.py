"""The LSTM language model: `forward` reads whole windows for training, `step` reads one token with every gate in view.

L layers, B rows, T time, E embedding, H hidden, V pieces.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lstm.config import ModelConfig
from lstm.fused import lstm_layer


class State(NamedTuple):
    """What the model remembers: hidden and cell, each (L, B, H), float32."""

    hidden: Tensor
    cell: Tensor


class Gates(NamedTuple):
    """The gates of one step after their activations, each (L, B, H)."""

    input: Tensor
    forget: Tensor
    candidate: Tensor
    output: Tensor


class Dropout(NamedTuple):
    """Rates of dropout; a mask is drawn once for a window (Gal & Ghahramani 2016, Merity et al. 2017)."""

    embedding: float = 0.0
    input: float = 0.0
    hidden: float = 0.0
    output: float = 0.0
    recurrent: float = 0.0


NO_DROPOUT = Dropout()


class LanguageModel(nn.Module):
    """A stacked LSTM whose embedding is its output matrix too (Press & Wolf 2017)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        E, H = config.embedding_size, config.hidden_size
        widths = [E] + [H] * (config.layers - 1)
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, E).normal_(std=E**-0.5))
        self.weight_x = nn.ParameterList(_uniform(4 * H, width) for width in widths)
        self.weight_h = nn.ParameterList(_uniform(4 * H, H) for _ in widths)
        self.bias = nn.ParameterList(_gate_bias(H) for _ in widths)
        self.projection = nn.Parameter(_uniform(E, H))
        self.output_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def initial_state(self, rows: int) -> State:
        """The state before anything was read: zeros, (L, rows, H)."""
        zeros = self.output_bias.new_zeros(self.config.layers, rows, self.config.hidden_size)
        return State(zeros, zeros)

    def forward(
        self, ids: Tensor, state: State, dropout: Dropout = NO_DROPOUT, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, State]:
        """Read windows: ids (B, T) -> logits (B, T, V) in dtype, state after the last token.

        Dropout applies only in training mode. Products run in dtype, float32 or bfloat16.
        """
        features, state = self.features(ids, state, dropout, dtype)
        return self.logits(features), state

    def logits(self, features: Tensor) -> Tensor:
        """What the features say of each piece: (..., E) -> (..., V)."""
        return F.linear(features, self.embedding.to(features.dtype), self.output_bias.to(features.dtype))

    def features(
        self, ids: Tensor, state: State, dropout: Dropout = NO_DROPOUT, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, State]:
        """Read windows up to the output matrix: ids (B, T) -> features (B, T, E), state after the last token."""
        if not self.training:
            dropout = NO_DROPOUT
        table = _drop_rows(self.embedding, dropout.embedding)
        x = _locked(F.embedding(ids.t(), table).to(dtype), dropout.input)  # (T, B, E)
        hidden, cell = [], []
        for layer in range(self.config.layers):
            weight_h = F.dropout(self.weight_h[layer], dropout.recurrent, dropout.recurrent > 0)
            y, h, c = lstm_layer(
                x, state.hidden[layer], state.cell[layer], self.weight_x[layer], weight_h, self.bias[layer]
            )
            x = y + x if layer else y
            hidden.append(h)
            cell.append(c)
            x = _locked(x, dropout.hidden if layer + 1 < self.config.layers else dropout.output)
        x = F.linear(x.transpose(0, 1), self.projection.to(dtype))
        return x, State(torch.stack(hidden).float(), torch.stack(cell).float())

    def step(self, ids: Tensor, state: State) -> tuple[Tensor, State, Gates]:
        """Read one token a row: ids (B,) -> logits (B, V), the next state, the gates of every layer."""
        x = self.embedding[ids]  # (B, E)
        hidden, cell, gates = [], [], []
        for layer in range(self.config.layers):
            z = x @ self.weight_x[layer].t() + state.hidden[layer] @ self.weight_h[layer].t() + self.bias[layer]
            i, f, g, o = z.chunk(4, dim=1)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            c = f * state.cell[layer] + i * g
            h = o * c.tanh()
            x = h + x if layer else h
            hidden.append(h)
            cell.append(c)
            gates.append((i, f, g, o))
        logits = self.logits(x @ self.projection.t())
        return logits, State(torch.stack(hidden), torch.stack(cell)), Gates(*map(torch.stack, zip(*gates, strict=True)))


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats per target. logits (B, T, V), targets (B, T) -> (B, T), float32."""
    nats = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return nats.view(targets.shape)


def _uniform(rows: int, columns: int) -> Tensor:
    return torch.empty(rows, columns).uniform_(-(columns**-0.5), columns**-0.5)


def _gate_bias(hidden: int) -> Tensor:
    """Zeros, but 1 for the forget gate, so that a new model keeps what it holds (Jozefowicz et al. 2015)."""
    bias = torch.zeros(4 * hidden)
    bias[hidden : 2 * hidden] = 1.0
    return bias


def _locked(x: Tensor, rate: float) -> Tensor:
    """Leave out the same numbers at every time step. x (T, B, N)."""
    return x * F.dropout(x.new_ones(1, *x.shape[1:]), rate) if rate else x


def _drop_rows(table: Tensor, rate: float) -> Tensor:
    """Leave out whole pieces. table (V, E)."""
    return table * F.dropout(table.new_ones(table.shape[0], 1), rate) if rate else table
