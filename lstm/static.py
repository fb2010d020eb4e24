"""The model in the browser, without a server: one folder of plain files for any web server or a static Space.

The panel is the page's own; lstm/web/static/ holds what stands in for the server there. docs/static.md says what is
the same and what is not.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstm.checkpoint import Checkpoint
from lstm.config import Refused
from lstm.export import build
from lstm.web import facts

ASSETS, STATIC = (Path(__file__).parent / "web" / room for room in ("assets", "static"))
PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = {  # what is taken of it, with its SHA-256
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_EXACT = 2**24  # whole numbers below this are float32 to the last one
_ACTIVATION = 63  # the largest number that an activation becomes in 8 bits

README = """---
title: Jungle LSTM
emoji: 🐺
colorFrom: green
colorTo: yellow
sdk: static
app_file: index.html
license: mit
short_description: A subword LSTM that writes in your browser, without a server
---

# Jungle LSTM, in the browser

{name}: {parameters:,} parameters, trained and run by the code of Jungle LSTM. The model runs in the browser, under
ONNX Runtime Web (https://onnxruntime.ai, MIT licence, Microsoft); once loaded, the page works without a network.
"""


def publish(checkpoint: Checkpoint, folder: str | Path) -> None:
    """Write the page with this checkpoint into a new folder. Raises Refused: the folder is taken, npm is not there."""
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Refused(f"{path} is not empty: give another folder, or move it away")
    content = files(checkpoint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as fresh:
            for name, raw in content.items():
                target = Path(fresh, "site", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(raw)
            os.replace(Path(fresh, "site"), path)
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}): make room or give another folder") from None


def files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Everything that the page needs, by its path in the folder. Raises Refused."""
    about = facts.everything(checkpoint)
    site = _folder(STATIC) | {f"jungle/{name}": raw for name, raw in _folder(ASSETS).items() if name[-5:] != ".html"}
    site["jungle/client.js"] = site.pop("client.js")
    site["jungle/status"] = b'{"running":0}'
    for room in ("header", "odds", "panel", "model"):
        markup = (ASSETS / f"{room}.html").read_bytes()
        site["index.html"] = site["index.html"].replace(f"<!-- {room} -->".encode(), markup)
    site |= {f"engine/{name}": raw for name, raw in _runtime().items()}
    site["model/model.onnx"] = in_floats(_graph(checkpoint))
    site["model/pieces.json"] = _json(checkpoint.tokenizer.table())
    site["README.md"] = README.format(**about).encode()
    heavy = ("engine/ort-wasm-simd-threaded.wasm", "model/model.onnx", "model/pieces.json")
    content = {"facts": about, "bytes": {name: len(site[name]) for name in heavy}}
    version = hashlib.sha256(_json(content) + b"".join(raw for _, raw in sorted(site.items()))).hexdigest()[:16]
    site["model/about.json"] = _json({**content, "version": version})
    kept = ["./", *sorted(site.keys() - {"offline.js", "README.md"})]
    head = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(kept)};\n"
    site["offline.js"] = head.encode() + site["offline.js"]
    return site


def in_floats(graph: bytes) -> bytes:
    """The same graph with its products of integers done in float32: faster in a browser, and the same to the bit.

    Whole numbers below 2**24 are exact as float32, and so are their sums in any order. A product whose sums could pass
    that stays as it is. The weights stay bytes in the file and become floats when it is opened.
    """
    model = onnx.load_from_string(graph)
    constants = {constant.name: constant for constant in model.graph.initializer}
    transposed = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    nodes = []
    for node in model.graph.node:
        matrix = transposed.get(node.input[1]) if node.op_type == "MatMulInteger" else None
        if matrix is None or _largest_sum(numpy_helper.to_array(constants[matrix])) >= _EXACT:
            nodes.append(node)
            continue
        (values, weights, centre), floats = node.input, [f"{node.output[0]}.{n}" for n in range(4)]
        for source, target in zip((values, weights, centre), floats, strict=False):
            nodes.append(helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Sub", [floats[0], floats[2]], [floats[3]]))
        nodes.append(helper.make_node("MatMul", [floats[3], floats[1]], node.output))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _largest_sum(matrix: np.ndarray) -> int:
    """What the product of one row of a matrix (N, K) with activations cannot pass, whatever these are."""
    return _ACTIVATION * int(np.abs(matrix.astype(np.int64)).sum(axis=1).max())


def _graph(checkpoint: Checkpoint) -> bytes:
    known = checkpoint.files()
    return known.get("model.onnx") or build(checkpoint.weights(), checkpoint.config)


def _folder(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _runtime() -> dict[str, bytes]:
    """ONNX Runtime for browsers, from npm. Raises Refused where npm is not there or brings something else."""
    if not (npm := shutil.which("npm")):
        raise Refused(f"npm is not here, and brings {PACKAGE} for the page: install Node.js, which has it")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--prefer-offline", "--silent", "--pack-destination", folder]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Refused(f"npm cannot bring {PACKAGE} ({reason[:200]}): look at the network, and try again")
        with tarfile.open(packed[0]) as archive:
            found = {name: archive.extractfile(f"package/dist/{name}").read() for name in RUNTIME}
    for name, digest in RUNTIME.items():
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise Refused(f"{name} of {PACKAGE} is not the file that this was made for: try again, or update")
    return found
