"""One step of the model for B rows, without torch."""

from typing import NamedTuple

import numpy as np

from lstm.checkpoint import Checkpoint


class State(NamedTuple):
    """What the model remembers: hidden and cell, each (L, B, H), float32."""

    hidden: np.ndarray
    cell: np.ndarray


class Gates(NamedTuple):
    """The gates of one step after their activations, each (L, B, H)."""

    input: np.ndarray
    forget: np.ndarray
    candidate: np.ndarray
    output: np.ndarray


class Runtime:
    """A checkpoint that can be stepped."""

    def __init__(self, checkpoint: Checkpoint):
        self.config = checkpoint.config
        weights = checkpoint.weights()
        self._embedding = weights["embedding"]
        self._output_bias = weights["output_bias"]
        self._projection = weights["projection"]
        self._layers = [
            (weights[f"weight_x.{n}"], weights[f"weight_h.{n}"], weights[f"bias.{n}"])
            for n in range(self.config.layers)
        ]

    def initial_state(self, rows: int) -> State:
        """The state before anything was read: zeros, (L, rows, H)."""
        zeros = np.zeros((self.config.layers, rows, self.config.hidden_size), np.float32)
        return State(zeros, zeros)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State, Gates]:
        """Read one token a row: ids (B,) -> logits (B, V), the next state, the gates of every layer."""
        x = self._embedding[ids]
        hidden, cell, gates = [], [], []
        for layer, (weight_x, weight_h, bias) in enumerate(self._layers):
            z = x @ weight_x.T + state.hidden[layer] @ weight_h.T + bias
            i, f, g, o = np.split(z, 4, axis=1)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            c = f * state.cell[layer] + i * g
            h = o * np.tanh(c)
            x = h + x if layer else h
            hidden.append(h)
            cell.append(c)
            gates.append((i, f, g, o))
        logits = x @ self._projection.T @ self._embedding.T + self._output_bias
        return logits, State(np.stack(hidden), np.stack(cell)), Gates(*map(np.stack, zip(*gates, strict=True)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
