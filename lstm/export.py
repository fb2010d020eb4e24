"""`step` as an ONNX graph with weights in 8 bits, built from the weights' names alone, without torch.

The graph uses standard operators only, so every runtime can read it, onnxruntime-web included.
L layers, B rows, E embedding, H hidden, V pieces.
"""

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstm.config import ModelConfig, Refused, SamplingConfig
from lstm.runtime import Rows, Runtime, read
from lstm.sampling import Settings, choose
from lstm.tokenizer import Tokenizer

TOLERANCE = 0.003  # bits per byte that 8 bits may cost
_OPSET, _IR_VERSION = 17, 8
_CENTRE = 64  # an activation of 0 as an unsigned byte, so that all lie in 1 to 127
_LANES, _WARM_UP, _ENOUGH = 16, 16, 20_000  # how a text is read to compare: lanes, and tokens


def export(weights: Mapping[str, np.ndarray], config: ModelConfig, tokenizer: Tokenizer, text: str = "") -> bytes:
    """The graph in 8 bits, after comparing it with float32 on a validation text, or on one that float32 wrote.

    Raises Refused if it reads the text more than TOLERANCE bits per byte worse.
    """
    graph = build(weights, config)
    loss = quantisation_loss(graph, weights, config, tokenizer, text)
    if not loss <= TOLERANCE:
        raise Refused(
            f"8 bits cost {loss:.4f} bits per byte on the validation text, more than {TOLERANCE}: "
            "train longer or with more weight decay, so that no weight stands far out"
        )
    return graph


def quantisation_loss(
    graph: bytes, weights: Mapping[str, np.ndarray], config: ModelConfig, tokenizer: Tokenizer, text: str = ""
) -> float:
    """Bits per byte that the graph reads a text worse than float32 does, negative if it reads it better.

    Without a text of some length float32 writes one.
    """
    ours, exact = Runtime(graph, config), Runtime(build(weights, config, quantise=False), config)
    ids = tokenizer.encode(text)
    lanes = _lanes(ids) if len(ids) > 4 * _WARM_UP else _own_text(exact, tokenizer.encode("\n")[0])
    nats = [read(runtime, lanes, runtime.initial_state(len(lanes)))[0][:, _WARM_UP:].sum() for runtime in (ours, exact)]
    size = len(tokenizer.decode(lanes[:, _WARM_UP + 1 :].flatten()).encode())
    return float(nats[0] - nats[1]) / math.log(2) / max(size, 1)


def _lanes(ids: list[int]) -> np.ndarray:
    """Rows of one length, each beginning with the last id of the row before: (B, N)."""
    ids = ids[:_ENOUGH]
    length = (len(ids) - 1) // min(_LANES, len(ids) // (4 * _WARM_UP))
    starts = np.arange(0, len(ids) - length, length)
    return np.array(ids)[starts[:, None] + np.arange(length + 1)]


def _own_text(runtime: Runtime, first: int, length: int = 250) -> np.ndarray:
    """Texts that the model writes after a first id, as it does for readers: (B, N)."""
    rows, draws = Rows(runtime, _LANES), np.random.default_rng(0)
    settings = Settings.of([SamplingConfig()] * _LANES, runtime.config.vocab_size)
    ids = np.full((_LANES, length), first)
    for n in range(1, length):
        rows.ids[:] = ids[:, n - 1]
        ids[:, n] = choose(rows.step(_LANES), settings, draws.random(_LANES)).ids
    return ids


def build(weights: Mapping[str, np.ndarray], config: ModelConfig, quantise: bool = True) -> bytes:
    """A graph that reads one token a row, serialised.

    In: ids (B,) int64; hidden.N, cell.N (B, H) float32 for each layer N. Out: logits (B, V); next_hidden.N,
    next_cell.N; the gates after their activations, input.N, forget.N, candidate.N, output.N, each (B, H).
    """
    graph = _Graph(quantise)
    table = graph.matrix("embedding", weights["embedding"])
    x = graph.rows_of(table, "ids")
    for layer in range(config.layers):
        x = _layer(graph, weights, layer, x)
    x = graph.product(x, graph.matrix("projection", weights["projection"]))
    logits = graph.product(x, table)
    graph.node("Add", logits, graph.constant("output_bias", weights["output_bias"]), out="logits")
    return graph.serialise(config)


def _layer(graph: "_Graph", weights: Mapping[str, np.ndarray], layer: int, x: str) -> str:
    """One cell, written out as in lstm.model: Hochreiter & Schmidhuber 1997 with the gate of Gers et al. 2000."""
    both = np.concatenate([weights[f"weight_x.{layer}"], weights[f"weight_h.{layer}"]], axis=1)
    z = graph.product(graph.node("Concat", x, f"hidden.{layer}", axis=1), graph.matrix(f"weight.{layer}", both))
    z = graph.node("Add", z, graph.constant(f"bias.{layer}", weights[f"bias.{layer}"]))
    i, f, g, o = graph.split(z, 4)
    i = graph.node("Sigmoid", i, out=f"input.{layer}")
    f = graph.node("Sigmoid", f, out=f"forget.{layer}")
    g = graph.node("Tanh", g, out=f"candidate.{layer}")
    o = graph.node("Sigmoid", o, out=f"output.{layer}")
    kept, written = graph.node("Mul", f, f"cell.{layer}"), graph.node("Mul", i, g)
    c = graph.node("Add", kept, written, out=f"next_cell.{layer}")
    h = graph.node("Mul", o, graph.node("Tanh", c), out=f"next_hidden.{layer}")
    return graph.node("Add", h, x) if layer else h


class _Graph:
    """Nodes and constants in the making. Values are known by name."""

    def __init__(self, quantise: bool):
        self._quantise = quantise
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}

    def node(self, operator: str, *inputs: str, out: str = "", **attributes) -> str:
        """Add an operator with one output; returns the output's name."""
        out = out or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [out], **attributes))
        return out

    def split(self, x: str, parts: int) -> list[str]:
        """Cut (B, parts * N) into parts of (B, N)."""
        outs = [f"Split_{len(self._nodes)}_{n}" for n in range(parts)]
        self._nodes.append(helper.make_node("Split", [x], outs, axis=1))
        return outs

    def constant(self, name: str, values: np.ndarray) -> str:
        """Store a constant once; returns its name."""
        self._constants.setdefault(name, values)
        return name

    def matrix(self, name: str, values: np.ndarray) -> str:
        """Store a matrix (N, K): in 8 bits, symmetric, with one scale a row, or as it is."""
        if not self._quantise:
            return self.constant(name, values.astype(np.float32))
        scale = np.maximum(np.abs(values).max(axis=1), np.finfo(np.float32).tiny).astype(np.float32) / np.float32(127)
        self.constant(f"{name}.scale", scale)
        return self.constant(name, np.rint(values / scale[:, None]).clip(-127, 127).astype(np.int8))

    def rows_of(self, matrix: str, ids: str) -> str:
        """Rows of a stored matrix (N, K): ids (B,) -> (B, K), float32."""
        rows = self.node("Gather", matrix, ids)
        if not self._quantise:
            return rows
        scale = self.node("Gather", f"{matrix}.scale", ids)
        scale = self.node("Unsqueeze", scale, self.constant("axis", np.array([1])))
        return self.node("Mul", self.node("Cast", rows, to=TensorProto.FLOAT), scale)

    def product(self, x: str, matrix: str) -> str:
        """x (B, K) times a stored matrix (N, K), transposed -> (B, N).

        In 8 bits each row of x has a scale of its own and the sums are of integers, so what a row becomes does not
        depend on the other rows, nor on the order of the sum.
        """
        transposed = self.node("Transpose", matrix, perm=[1, 0])  # folded when the graph is loaded
        if not self._quantise:
            return self.node("MatMul", x, transposed)
        values, scale = self._bytes(x)
        sums = self.node("MatMulInteger", values, transposed, self.constant("centre", np.uint8(_CENTRE)))
        sums = self.node("Mul", self.node("Cast", sums, to=TensorProto.FLOAT), f"{matrix}.scale")
        return self.node("Mul", sums, scale)

    def _bytes(self, x: str) -> tuple[str, str]:
        """x (B, K) as unsigned bytes around _CENTRE, and each row's scale (B, 1).

        7 bits of the byte are used: processors without VNNI add two products in 16 bits, which 8 would overflow.
        """
        largest = self.node("ReduceMax", self.node("Abs", x), axes=[1], keepdims=1)
        scale = self.node("Mul", largest, self.constant("1/63", np.float32(1 / (_CENTRE - 1))))
        scale = self.node("Max", scale, self.constant("tiny", np.float32(1e-30)))
        raised = self.node("Add", self.node("Div", x, scale), self.constant("raise", np.float32(_CENTRE + 0.5)))
        return self.node("Cast", raised, to=TensorProto.UINT8), scale  # Cast cuts, so this rounds

    def serialise(self, config: ModelConfig) -> bytes:
        """The whole model with its inputs and outputs named. Raises onnx.checker.ValidationError if it is malformed."""
        layers = range(config.layers)
        state = [f"{part}.{n}" for n in layers for part in ("hidden", "cell")]
        gates = [f"{gate}.{n}" for n in layers for gate in ("input", "forget", "candidate", "output")]
        wide = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        inputs = [wide(name, config.hidden_size) for name in state]
        outputs = [wide(name, config.hidden_size) for name in [*(f"next_{name}" for name in state), *gates]]
        graph = helper.make_graph(
            self._nodes,
            "step",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows"]), *inputs],
            [wide("logits", config.vocab_size), *outputs],
            [numpy_helper.from_array(values, name) for name, values in self._constants.items()],
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="jungle-lstm")
        onnx.checker.check_model(model)
        return model.SerializeToString()
