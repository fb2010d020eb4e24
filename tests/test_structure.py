"""The doors that stay shut: who may import what."""

import ast
import importlib.util
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = {
    "config": 0, "tokenizer": 0, "corpus": 0, "arguments": 0, "figures": 0, "card": 0,
    "data": 1, "fused": 1, "model": 1, "sampling": 1, "checkpoint": 1,
    "evaluation": 2, "export": 2, "runtime": 2,
    "training": 3, "engine": 3, "resume": 3,
}  # fmt: skip
SERVING = {"config", "tokenizer", "arguments", "sampling", "checkpoint", "export", "runtime", "engine"}
MODULES = {path.stem: path for path in (ROOT / "lstm").glob("*.py")}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("name", sorted(set(FLOORS) & set(MODULES)))
def test_a_module_imports_from_lower_floors_only(name):
    for imported in imports(MODULES[name]):
        other = imported.removeprefix("lstm.").split(".")[0]
        if imported.startswith("lstm.") and other in FLOORS:
            assert FLOORS[other] <= FLOORS[name], f"{name} imports {other}"


@pytest.mark.parametrize("name", sorted(SERVING & set(MODULES)))
def test_the_serving_side_does_not_import_torch(name):
    assert not {i for i in imports(MODULES[name]) if i.split(".")[0] == "torch"}


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_only_the_page_imports_gradio(path):
    assert not {i for i in imports(path) if i.split(".")[0] in ("gradio", "gradio_client")}


def test_the_page_does_not_import_torch():
    for path in [ROOT / "app.py", *(ROOT / "lstm" / "web").glob("*.py")]:
        assert not {i for i in imports(path) if i.split(".")[0] == "torch"}, path


def test_the_drawing_of_the_architecture_is_of_this_code(tmp_path):
    path = ROOT / "docs" / "architecture.py"
    spec = importlib.util.spec_from_file_location("architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.draw(tmp_path / "now.svg")
    drawn = (ROOT / "docs" / "architecture.svg").read_text()
    assert (tmp_path / "now.svg").read_text() == drawn, "run python docs/architecture.py"
