"""The notebook does what it says, in a real kernel, on the tests' own text and for a moment only."""

import json
import shutil
import socket

import pytest
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "your-own-text.ipynb"
SHORT = "--steps 2 --learning-rate 1e-6 --matrix-rate 1e-6"


def test_the_notebook_trains_shows_and_serves(tiny_checkpoint, texts, tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    for name in ("app.py", "train.py", "lstm"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(tiny_checkpoint, tmp_path / "checkpoints" / "jungle-book")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = notebook.cells[2]
    for name, value in [("TEXT", str(texts / "train.txt")), ("OPTIONS", SHORT)]:
        assert f"{name} = " in settings.source
        settings.source += f"\n{name} = {value!r}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GRADIO_SERVER_PORT", str(free.getsockname()[1]))
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()

    said = ["".join(o.get("text", "") for o in cell.get("outputs", [])) for cell in notebook.cells]
    trained, wrote, address = (next(text for text in said if word in text) for word in ("is ready", "mine:", "http://"))
    assert "checkpoints/mine is ready: python app.py" in trained
    parent, child = wrote.split("mine:")
    assert parent.strip().removeprefix("jungle-book:").strip() == child.strip()  # it has read for two steps only
    assert address.startswith("http://127.0.0.1:")
    assert any("image/png" in o.get("data", {}) for cell in notebook.cells for o in cell.get("outputs", []))


def test_the_notebook_and_the_readme_have_one_command():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (command,) = ["".join(cell["source"]) for cell in cells if "train.py --corpus" in "".join(cell["source"])]
    command = command.replace("!{sys.executable}", "python").format(TEXT="my.txt", OPTIONS="--minutes 3")
    page = "python app.py --checkpoint checkpoints/mine"
    assert f"{command} && {page}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_notebook_is_kept_without_what_a_run_left_in_it():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
