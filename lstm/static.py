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
from lstm.web import facts

ASSETS, STATIC = (Path(__file__).parent / "web" / room for room in ("assets", "static"))
PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = {  # what is taken of it, with its SHA-256
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_SQUARES = {  # coefficients of ONNX Runtime's rational functions of x squared (Eigen's): bound of x, above, below
    "Sigmoid": (
        18.0,
        (
            0,
            4.37031012579801e-11,
            1.15627324459942e-07,
            6.08574864600143e-05,
            8.51377133304701e-03,
            2.48287947061529e-01,
        ),
        (
            *(6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03),
            *(1.16817656904453e-01, 9.93151921023180e-01),
        ),
    ),
    "Tanh": (
        9.0,
        (
            *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
            *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
        ),
        (0, 0, 0, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
    ),
}

README = """---
title: Jungle LSTM
emoji: 🐺
colorFrom: green
colorTo: yellow
sdk: static
app_file: index.html
license: mit
short_description: A subword LSTM that writes in your browser
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
    for room in ("header", "odds", "panel", "compare", "model"):
        markup = (ASSETS / f"{room}.html").read_bytes()
        site["index.html"] = site["index.html"].replace(f"<!-- {room} -->".encode(), markup)
    site |= {f"engine/{name}": raw for name, raw in _runtime().items()}
    site["model/model.onnx"] = fused(_graph(checkpoint))
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


def fused(graph: bytes) -> bytes:
    """The same graph for one row, its sigmoid and tanh to the bit as where a product and a sum are one step (x86, Arm).

    WebAssembly has no such step, and one bit can move an activation to the next of its 127 steps: the text would part
    from the server's. A product of two float32 is exact in float64, so the sum there, rounded once, is the fused one.
    """
    model = onnx.load_from_string(graph)
    constants = {"half": np.float32(0.5), "zero": np.float32(0)}
    nodes = []
    for node in model.graph.node:
        nodes += _rational(node, constants) if node.op_type in _SQUARES else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _rational(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """x p(x^2) / q(x^2) by Horner's rule, p and q as two rows; a sigmoid is one half more."""
    kind, nodes = node.op_type, []
    bound, above, below = _SQUARES[kind]
    constants |= {f"{kind}.low": np.float32(-bound), f"{kind}.high": np.float32(bound)}

    def add(operator: str, *inputs: str, outs: tuple[str, ...] = (), **attributes: int) -> str:
        outs = outs or (f"{node.output[0]}.{len(nodes)}",)
        nodes.append(helper.make_node(operator, inputs, outs, **attributes))
        return outs[0]

    x = add("Clip", node.input[0], f"{kind}.low", f"{kind}.high")
    square = add("Cast", add("Mul", x, x), to=TensorProto.DOUBLE)
    for n, pair in enumerate(zip(above, below, strict=True)):
        constants[f"{kind}.{n}"] = np.array(pair, np.float32).astype(np.float64)[:, None]
        if n == 0:
            value = f"{kind}.0"
            continue
        rounded = add("Cast", add("Add", add("Mul", value, square), f"{kind}.{n}"), to=TensorProto.FLOAT)
        value = add("Cast", rounded, to=TensorProto.DOUBLE)
    p, q = f"{node.output[0]}.p", f"{node.output[0]}.q"
    add("Split", rounded, outs=(p, q), axis=0)
    ratio = ("Div", add("Mul", p, x), q)
    if kind == "Tanh":
        add(*ratio, outs=tuple(node.output))
    else:
        add("Max", add("Add", add(*ratio), "half"), "zero", outs=tuple(node.output))
    return nodes


def _graph(checkpoint: Checkpoint) -> bytes:
    if not (graph := checkpoint.files().get("model.onnx")):
        raise Refused(f"{checkpoint.path} has no model.onnx: add it with 'python -m lstm export {checkpoint.path}'")
    return graph


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
