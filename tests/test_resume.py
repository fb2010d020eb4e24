import hashlib
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest
import torch
from conftest import full_disk, read_only

from lstm import resume, training
from lstm.config import ModelConfig, Refused, TrainConfig
from lstm.model import LanguageModel

ORDER = {"lanes": 2, "corpus": [{"name": "a", "bytes": 3}]}


def begin(**settings):
    """A run of a few numbers."""
    ids = np.random.default_rng(0).integers(0, 300, 500).astype(np.uint16)
    config = TrainConfig(lanes=2, window=8, average=0.5, device="cpu", precision="float32", **settings)
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(vocab_size=300, embedding_size=8, hidden_size=8))
    return training.start(config, model, lambda _: ids, 900)


@pytest.fixture
def run():
    """A run of a few numbers, three steps old."""
    begun = begin(steps=50)
    for _ in range(3):
        training.take_step(begun)
    return begun


def saved(run, folder):
    folder.mkdir(exist_ok=True)
    resume.save(run, folder, ORDER)
    return folder / "state.bin"


def test_what_was_saved_goes_on_as_if_nothing_had_happened(run, tmp_path):
    saved(run, tmp_path)
    losses = [training.take_step(run) for _ in range(3)]
    resume.load(run, tmp_path, ORDER)
    assert run.step == 3
    assert [training.take_step(run) for _ in range(3)] == losses


@pytest.mark.parametrize("evaluation", [1, 3])
def test_a_stop_within_an_evaluation_abandons_it_and_the_resumed_run_makes_it_up(tmp_path, evaluation):
    valid = np.random.default_rng(1).integers(0, 300, 8 * 600).tolist()  # three chunks of eight lanes
    config = {"steps": 9, "evaluations": 3, "dropout_input": 0.2}

    def all_of(run):
        history = [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]
        return history, [weight.detach().numpy().tobytes() for weight in run.reader.parameters()]

    straight = begin(**config)
    list(training.train(straight, valid, 9000))
    stopped, asked = begin(**config), []

    def stop():
        asked.append(stopped.due and len(stopped.history) == evaluation - 1)
        return sum(asked) == 3  # before the evaluation, before its first chunk, before its second chunk

    list(training.train(stopped, valid, 9000, stop))
    assert (stopped.step, len(stopped.history), stopped.done) == (3 * evaluation, evaluation - 1, False)
    saved(stopped, tmp_path)
    resume.load(resumed := begin(**config), tmp_path, ORDER)
    first = next(moments := training.train(resumed, valid, 9000))
    assert (first.score is not None, resumed.step) == (True, 3 * evaluation)
    list(moments)
    assert all_of(resumed) == all_of(straight)


@pytest.mark.parametrize("harm", ["bit", "head", "cut", "longer", "empty", "swapped"])
def test_a_state_that_was_altered_is_refused(run, tmp_path, harm):
    file = saved(run, tmp_path)
    raw = file.read_bytes()
    middle = len(raw) // 2
    file.write_bytes(
        {
            "bit": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
            "head": bytes([raw[0] ^ 1]) + raw[1:],
            "cut": raw[:-1],
            "longer": raw + b"\0",
            "empty": b"",
            "swapped": raw[middle:] + raw[:middle],
        }[harm]
    )
    with pytest.raises(Refused, match=r"state\.bin is not what was saved"):
        resume.load(run, tmp_path, ORDER)


@pytest.mark.parametrize("kind", ["pipe", "folder", "vast", "loop"])
def test_a_state_that_is_no_file_is_refused_at_once(run, tmp_path, kind):
    file = tmp_path / "state.bin"
    if kind == "vast":
        with open(file, "wb") as sparse:
            sparse.truncate(2**40)
    else:
        {"pipe": os.mkfifo, "folder": os.mkdir, "loop": lambda path: path.symlink_to(path)}[kind](file)
    with pytest.raises(Refused, match=r"state\.bin"):
        resume.load(run, tmp_path, ORDER)


@pytest.mark.parametrize("name", ["lanes", "corpus", "valid"])
def test_a_run_that_was_asked_for_otherwise_is_not_gone_on_with(run, tmp_path, name):
    saved(run, tmp_path)
    with pytest.raises(Refused, match=f"{name} is not what"):
        resume.load(run, tmp_path, ORDER | {name: 3})


class Bomb:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_state_cannot_run_code(run, tmp_path, form):
    file, bomb = tmp_path / "state.bin", Bomb(tmp_path / "ran")
    torch.save({"order": bomb}, file) if form == "torch" else file.write_bytes(pickle.dumps(bomb, protocol=2))
    file.write_bytes(hashlib.sha256(file.read_bytes()).digest() + file.read_bytes())
    with pytest.raises(Refused, match="cannot be read"):
        resume.load(run, tmp_path, ORDER)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_no_checkpoint_can_hold_are_not_saved(run, tmp_path, value):
    before = saved(run, tmp_path).read_bytes()
    run.model.projection.data[0, 0] = value
    with pytest.raises(Refused, match=r"after step 3 projection .*learning_rate = "):
        resume.save(run, tmp_path, ORDER)
    assert (tmp_path / "state.bin").read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_a_loss_that_is_not_finite_ends_the_run_before_a_weight_changes(run, value):
    run.model.projection.data[0] = value
    bits = lambda: [weight.detach().numpy().tobytes() for weight in run.model.parameters()]
    before = bits()
    with pytest.raises(Refused, match=r"^step 4 has a loss of .*learning_rate = "):
        training.take_step(run)
    assert bits() == before


@pytest.mark.parametrize("fault", [full_disk, read_only])
def test_a_disk_that_fails_leaves_the_last_save(run, tmp_path, fault):
    folder = tmp_path / "out.run"
    before = saved(run, folder).read_bytes()
    with fault(folder), pytest.raises(Refused, match="go on with --resume"):
        resume.save(run, folder, ORDER)
    assert [path.name for path in folder.iterdir()] == ["state.bin"]
    assert (folder / "state.bin").read_bytes() == before


def hold(out):
    with resume.locked(out, resumed=False):
        (out.parent / "held").touch()
        time.sleep(600)


def test_the_lock_dies_with_its_process(tmp_path):
    out = tmp_path / "out"
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(out,))
    holder.start()
    while not (tmp_path / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(Refused, match="by another process"), resume.locked(out, resumed=False):
        pass
    holder.kill()
    holder.join()
    with resume.locked(out, resumed=False):
        assert (tmp_path / "out.run").is_dir()
    assert not (tmp_path / "out.run").exists()


def test_there_must_be_a_run_to_go_on_with(run, tmp_path):
    with pytest.raises(Refused, match="start one without --resume"), resume.locked(tmp_path / "out", resumed=True):
        pass
    assert list(tmp_path.iterdir()) == []
    saved(run, tmp_path / "out.run")
    with pytest.raises(Refused, match="--resume goes on with it"), resume.locked(tmp_path / "out", resumed=False):
        pass
    with resume.locked(tmp_path / "out", resumed=True):
        resume.load(run, tmp_path / "out.run", ORDER)


def test_files_of_somebody_else_are_left_alone(tmp_path):
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run" / "diary.txt").write_text("mine")
    with pytest.raises(Refused, match=r"diary\.txt"), resume.locked(tmp_path / "out", resumed=False):
        pass
    assert (tmp_path / "out.run" / "diary.txt").read_text() == "mine"


def test_what_a_kill_left_behind_is_removed(tmp_path):
    (tmp_path / ".out.abcd1234.part").mkdir()
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run" / "ids.new").write_bytes(b"half")
    with resume.locked(tmp_path / "out", resumed=False):
        assert [path.name for path in (tmp_path / "out.run").iterdir()] == ["lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [".", "..", "/", "a/.."])
def test_a_folder_without_a_name_is_refused(out):
    with pytest.raises(Refused, match="--out"):
        resume.folder_of(resume.Path(out))
