"""The doors that stay shut: who may import what."""

import ast
import importlib.util
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = [
    {"config", "tokenizer", "corpus", "arguments", "figures", "card", "score", "stats"},
    {"texts", "data", "fused", "model", "parallel", "sampling", "checkpoint", "hub"},
    {"evaluation", "adaptation", "export", "runtime", "optimizers"},
    {"training", "resume", "tracking", "display", "results", "publish", "text", "batch", "stream", "engine", "remote"},
    {"cluster", "workflow", "comparison", "static", "__main__"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
SERVING = {"config", "tokenizer", "score", "stats", "sampling", "checkpoint", "runtime"}
SERVING |= {"hub", "text", "batch", "stream", "engine", "remote", "cluster"}
MODULES = {path.stem: path for path in (ROOT / "lstm").glob("*.py") if path.stem != "__init__"}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_floor():
    assert FLOOR.keys() == MODULES.keys()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_no_higher_floor(name):
    for imported in imports(MODULES[name]):
        other = imported.removeprefix("lstm.").split(".")[0]
        if imported.startswith("lstm.") and other in FLOOR:
            assert FLOOR[other] <= FLOOR[name], f"{name} imports {other}"


@pytest.mark.parametrize("name", sorted(SERVING))
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
