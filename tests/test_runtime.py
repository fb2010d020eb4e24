"""The runtime reads as the model does, a state is a value, and nothing that serves needs torch."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, make_text

from lstm import checkpoint, export
from lstm.config import Refused
from lstm.runtime import Rows, Runtime, open_runtime, read


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return checkpoint.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def runtime(tiny):
    return open_runtime(tiny)


def draw_ids(tiny, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, tiny.config.vocab_size, shape)


def test_bound_rows_equal_single_steps(tiny, runtime):
    rows = Rows(runtime, 5)
    state = runtime.initial_state(5)
    for ids in draw_ids(tiny, 10, 5):
        rows.ids[:] = ids
        logits, state, gates = runtime.step(ids, state)
        assert np.array_equal(rows.step(5), logits)
        for ours, theirs in zip((*rows.get(slice(None)), *rows.gates(slice(None))), (*state, *gates), strict=True):
            assert np.array_equal(ours, theirs)


def test_a_state_can_be_kept_and_put_elsewhere(tiny, runtime):
    """Rows come and go and change places; each goes on as if it had been alone."""
    ids = draw_ids(tiny, 30)
    straight, expected = Rows(runtime, 1), []
    for i in ids:
        straight.ids[0] = i
        expected.append(straight.step(1)[0].copy())
    rows, place = Rows(runtime, 4), 0
    for n, i in enumerate(ids):
        rows.ids[:] = draw_ids(tiny, 4)
        rows.ids[place] = i
        assert np.array_equal(rows.step(place + 1 if n % 2 else 4)[place], expected[n])
        kept, place = rows.get(place), (place + 3) % 4
        rows.put(slice(None), runtime.initial_state(4))
        rows.put((place + 1) % 4, kept)
        rows.move((place + 1) % 4, place)


def test_a_kept_state_does_not_change_when_its_row_goes_on(tiny, runtime):
    rows = Rows(runtime, 2)
    rows.step(2)
    kept = rows.get(0)
    copies = [part.copy() for part in kept]
    for _ in range(3):
        rows.step(2)
    assert all(np.array_equal(part, copy) for part, copy in zip(kept, copies, strict=True))


def test_reading_in_parts_equals_reading_the_whole(tiny, runtime):
    ids = draw_ids(tiny, 3, 40)
    whole, end = read(runtime, ids, runtime.initial_state(3))
    first, state = read(runtime, ids[:, :18], runtime.initial_state(3))
    rest, state = read(runtime, ids[:, 17:], state)
    assert np.array_equal(np.concatenate([first, rest], axis=1), whole)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(state, end, strict=True))


def test_reading_equals_torch(tiny):
    torch = pytest.importorskip("torch")
    from lstm import evaluation, results

    _, model = results.open_checkpoint(tiny.path)
    exact = Runtime(export.build(tiny.weights(), tiny.config, quantise=False), tiny.config)
    ids = np.array([tiny.tokenizer.encode(make_text(20, seed=9))])
    ours, _ = read(exact, ids, exact.initial_state(1))
    theirs, _ = evaluation.read(model, torch.from_numpy(ids), model.initial_state(1))
    assert np.allclose(ours, theirs.numpy(), atol=1e-4)


def with_graph(tiny, folder, graph: bytes):
    files = {path.name: path.read_bytes() for path in tiny.path.iterdir() if path.name != checkpoint.MANIFEST}
    checkpoint.save(folder, {**files, "model.onnx": graph})
    return checkpoint.load(folder)


def test_the_saved_graph_is_used_and_one_without_gets_the_same_in_memory(tiny, tmp_path):
    files = {path.name: path.read_bytes() for path in tiny.path.iterdir() if path.name != checkpoint.MANIFEST}
    files.pop("model.onnx", None)
    checkpoint.save(tmp_path / "bare", files)
    bare = open_runtime(checkpoint.load(tmp_path / "bare"))
    exact = export.build(tiny.weights(), tiny.config, quantise=False)
    saved = open_runtime(with_graph(tiny, tmp_path / "exact", exact))
    quantised = Runtime(export.build(tiny.weights(), tiny.config), tiny.config)
    ids, state = draw_ids(tiny, 4), bare.initial_state(4)
    assert np.array_equal(bare.step(ids, state)[0], quantised.step(ids, state)[0])
    assert np.array_equal(saved.step(ids, state)[0], Runtime(exact, tiny.config).step(ids, state)[0])
    assert not np.array_equal(saved.step(ids, state)[0], bare.step(ids, state)[0])


def test_a_graph_that_the_manifest_does_not_list_is_refused(tiny, tmp_path):
    files = {name: content for name, content in tiny.files().items() if name != "model.onnx"}
    checkpoint.save(tmp_path / "copy", files)
    (tmp_path / "copy" / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(Refused, match=r"does not list model\.onnx"):
        checkpoint.load(tmp_path / "copy")


def test_a_graph_that_changes_after_the_checkpoint_was_opened_is_refused(tiny, tmp_path):
    opened = checkpoint.load(shutil.copytree(tiny.path, tmp_path / "copy"))
    other = export.build({n: -w for n, w in tiny.weights().items()}, tiny.config)
    (opened.path / "model.onnx").write_bytes(other)
    with pytest.raises(Refused, match=r"model\.onnx is not the file that was saved"):
        open_runtime(opened)


@pytest.mark.parametrize("name", ["embedding", "weight_h.0", "output_bias"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("quantise", [True, False])
def test_a_graph_whose_numbers_are_not_finite_is_refused(tiny, name, value, quantise):
    weights = tiny.weights()
    weights[name].flat[-1] = value
    with np.errstate(all="ignore"), pytest.raises(Refused, match="not finite"):
        Runtime(export.build(weights, tiny.config, quantise), tiny.config)


@pytest.mark.parametrize("graph", [b"", b"not a graph"])
def test_what_is_no_graph_is_refused_with_the_remedy(tiny, tmp_path, graph):
    with pytest.raises(Refused, match="python -m lstm export"):
        open_runtime(with_graph(tiny, tmp_path / "broken", graph))


@pytest.mark.parametrize("change", [{"vocab_size": 301}, {"hidden_size": 8}, {"layers": 1}, {"layers": 3}])
def test_a_graph_of_another_shape_is_refused(tiny, change):
    graph = export.build(tiny.weights(), tiny.config)
    with pytest.raises(Refused, match="does not fit"):
        Runtime(graph, tiny.config.model_copy(update=change))


WITHOUT_TORCH = """
import asyncio, sys
sys.modules["torch"] = sys.modules["onnx"] = None  # importing either now fails
from lstm import checkpoint
from lstm.config import SamplingConfig
from lstm.engine import Engine, write

opened, settings = checkpoint.load(sys.argv[1]), SamplingConfig(length=20)
alone = "".join(event.text for event in write(opened, "The wolf", settings))

async def text():
    engine = Engine(opened)
    written = [event.text async for event in engine.stream("The wolf", settings)]
    engine.close()
    return "".join(written)

assert alone and alone == asyncio.run(text())
print(len(alone))
"""


def test_writing_works_where_torch_and_onnx_are_not_installed(tiny, tmp_path):
    saved = with_graph(tiny, tmp_path / "saved", export.build(tiny.weights(), tiny.config))
    command = [sys.executable, "-c", WITHOUT_TORCH, str(saved.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


GENERATE = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = ["lstm", "generate", sys.argv[1], "--prompt", "The wolf", "--length", "20"]
runpy.run_module("lstm", run_name="__main__")
"""


@pytest.mark.parametrize("program", [GENERATE, "import sys; sys.modules['torch'] = None; import app, lstm.web.server"])
def test_the_command_and_the_page_do_not_need_torch(tiny, program):
    command = [sys.executable, "-c", program, str(tiny.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The wolf") == (program is GENERATE)
