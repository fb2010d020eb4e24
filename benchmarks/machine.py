"""What this machine is and can do at most: the floor under every figure."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parent.parent


def describe() -> dict:
    """Processor, cores and the commit that is measured."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    commit = git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "lstm") else "")
    return {"processor": names[0].split(":")[1].strip(), "cores": os.cpu_count(), "commit": commit}


def seconds(work: Callable[[], object], budget: float = 1.0) -> float:
    """Seconds of a call: a fifth of the calls were faster, so that what else the machine does counts less."""
    for _ in range(3):
        work()
    times, until = [], time.perf_counter() + budget
    while time.perf_counter() < until or len(times) < 5:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return float(np.percentile(times, 20))


def bandwidth(size: int) -> float:
    """Bytes a second that one core reads of an array of so many bytes, again and again."""
    numbers = np.ones(size // 4, np.float32)
    return numbers.nbytes / seconds(lambda: np.dot(numbers, numbers), 0.3)


def peak() -> float:
    """Operations a second of one core in products of bytes (two an element), with ONNX Runtime."""
    n = 1024
    matrix = numpy_helper.from_array(np.random.default_rng(0).integers(-127, 127, (n, n), np.int8), "matrix")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "matrix"], ["y"])],
        "peak",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [n, n])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [n, n])],
        [matrix],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).integers(0, 127, (n, n), np.uint8)
    return 2 * n**3 / seconds(lambda: session.run(None, {"x": x}), 0.5)


def table(heads: list[str], rows: list[list[object]]) -> str:
    """Rows as text, numbers to the right."""
    cells = [heads, *([f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    line = lambda row: "  ".join(
        cell.ljust(width) if n == 0 else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "\n".join(map(line, cells))
