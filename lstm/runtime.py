"""One step of the model for B rows under ONNX Runtime, without torch.

L layers, B rows, H hidden, V pieces. What a row becomes does not depend on the other rows, bit for bit.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

from lstm.checkpoint import Checkpoint
from lstm.config import ModelConfig, Refused
from lstm.score import Score

GRAPH = "model.onnx"
_GATES = ("input", "forget", "candidate", "output")


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


def initial_state(config: ModelConfig) -> State:
    """The state of one text before anything was read: zeros, (L, H)."""
    zeros = np.zeros((config.layers, config.hidden_size), np.float32)
    return State(zeros, zeros)


class Runtime:
    """A graph that can be stepped."""

    def __init__(self, graph: bytes, config: ModelConfig, threads: int = 1):
        """graph: what lstm.export built for such a model. Raises Refused if it is not one.

        One thread is the default: on two cores a second one gains little at one row and takes the page's core.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.config = config
        try:
            self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            values = (*self.session.get_inputs(), *self.session.get_outputs())
            fits = _shapes(config) == {value.name: value.shape for value in values}
            sound = fits and self._finite()
        except Exception as error:  # ONNX Runtime has no common class of errors
            raise Refused(f"{GRAPH} cannot be read ({type(error).__name__}): {_remedy('CHECKPOINT')}") from None
        if not sound:
            trouble = "gives numbers that are not finite" if fits else "does not fit config.json"
            raise Refused(f"{GRAPH} {trouble}: {_remedy('CHECKPOINT')}")

    def initial_state(self, rows: int) -> State:
        """The state before anything was read: zeros, (L, rows, H)."""
        return State(*(np.repeat(part[:, None], rows, axis=1) for part in initial_state(self.config)))

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State, Gates]:
        """Read one token a row: ids (B,) -> logits (B, V), the next state, the gates of every layer."""
        rows = Rows(self, len(ids))
        rows.ids[:] = ids
        rows.put(slice(None), state)
        logits = rows.step(len(ids))
        return logits, rows.get(slice(None)), rows.gates(slice(None))

    def _finite(self) -> bool:
        """Whether a step gives numbers everywhere: 8 bits would hide one that is none from the next layer."""
        logits, state, gates = self.step(np.zeros(1, np.int64), self.initial_state(1))
        return all(np.isfinite(values).all() for values in (logits, *state, *gates))


class Rows:
    """Buffers for up to so many rows, bound to a runtime once. The rows in use are the first ones."""

    def __init__(self, runtime: Runtime, capacity: int):
        config = runtime.config
        shape = (2, config.layers, capacity, config.hidden_size)
        self._session, self._layers = runtime.session, config.layers
        self._before, self._after = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._gates = np.zeros((len(_GATES), *shape[1:]), np.float32)
        self._bound: dict[tuple[int, bool], onnxruntime.IOBinding] = {}
        self._turned = False
        self.ids = np.zeros(capacity, np.int64)
        self.logits = np.zeros((capacity, config.vocab_size), np.float32)

    def step(self, count: int) -> np.ndarray:
        """Read the first `count` ids: logits (count, V), valid until the next step."""
        key = (count, self._turned)
        if key not in self._bound:
            self._bound[key] = self._bind(count)
        self._session.run_with_iobinding(self._bound[key])
        self._before, self._after = self._after, self._before
        self._turned = not self._turned
        return self.logits[:count]

    def get(self, row: int | slice) -> State:
        """A copy of the state of one row, (L, H), or of several, (L, B, H)."""
        return State(*self._before[:, :, row].copy())

    def put(self, row: int | slice, state: State) -> None:
        """Give a row, or several, a state."""
        self._before[0][:, row], self._before[1][:, row] = state

    def move(self, source: int, target: int) -> None:
        """Copy one row's state, logits and gates over another's."""
        for buffer in (self._before, self._gates):
            buffer[:, :, target] = buffer[:, :, source]
        self.logits[target] = self.logits[source]

    def gates(self, row: int | slice) -> Gates:
        """A copy of the gates of the last step, of one row (L, H) or of several (L, B, H)."""
        return Gates(*self._gates[:, :, row].copy())

    def _bind(self, count: int) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        outputs = {"logits": self.logits[:count]}
        inputs = {"ids": self.ids[:count]}
        for n in range(self._layers):
            for part, name in enumerate(("hidden", "cell")):
                inputs[f"{name}.{n}"] = self._before[part, n, :count]
                outputs[f"next_{name}.{n}"] = self._after[part, n, :count]
            for part, name in enumerate(_GATES):
                outputs[f"{name}.{n}"] = self._gates[part, n, :count]
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


def open_runtime(checkpoint: Checkpoint, threads: int = 1) -> Runtime:
    """The runtime of a checkpoint. One that was saved without a graph gets one in memory. Raises Refused."""
    if GRAPH in checkpoint.listed:
        return Runtime(checkpoint.read(GRAPH), checkpoint.config, threads)
    from lstm.export import build  # needs onnx, which serving does not

    return Runtime(build(checkpoint.weights(), checkpoint.config), checkpoint.config, threads)


def read(runtime: Runtime, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """Nats of each target: ids (B, N) -> (B, N - 1) float64, and the state after the last input."""
    rows = Rows(runtime, len(ids))
    rows.put(slice(None), state)
    nats = np.empty((len(ids), ids.shape[1] - 1))
    for n in range(ids.shape[1] - 1):
        rows.ids[:] = ids[:, n]
        logits = rows.step(len(ids)).astype(np.float64)
        peak = logits.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(logits - peak, ids[:, n + 1, None], axis=1)[:, 0]
        nats[:, n] = np.log(np.exp(logits - peak).sum(axis=1)) - chosen
    return nats, rows.get(slice(None))


def evaluate(checkpoint: Checkpoint, text: str, context: str = "") -> Score:
    """Score a text after a context by the graph, as evaluation.evaluate does by the model. Raises Refused."""
    tokenizer, runtime = checkpoint.tokenizer, open_runtime(checkpoint)
    before, ids = tokenizer.encode(context), tokenizer.encode(text, after=context)
    row = np.array([tokenizer.encode("\n") + before + ids])
    nats, _ = read(runtime, row, runtime.initial_state(1))
    return Score(float(nats[0, len(before) :].sum()), len(ids), len(text.encode()))


def _shapes(config: ModelConfig) -> dict[str, list[str | int]]:
    """The shape of every input and output of a graph, by its name."""
    parts = ("hidden", "cell", "next_hidden", "next_cell", *_GATES)
    state = {f"{part}.{n}": ["rows", config.hidden_size] for part in parts for n in range(config.layers)}
    return {"ids": ["rows"], "logits": ["rows", config.vocab_size]} | state


def _remedy(checkpoint: Path | str) -> str:
    return f"write it again with 'python -m lstm export {checkpoint}'"
