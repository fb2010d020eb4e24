import ctypes
import hashlib
import json
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
import safetensors.numpy
from conftest import full_disk, read_only

from lstm import checkpoint, results
from lstm.config import ModelConfig, Refused
from lstm.model import LanguageModel


def copy_of(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_checkpoint_opens_with_its_weights(tiny_checkpoint):
    found = checkpoint.load(tiny_checkpoint)
    assert found.tokenizer.vocab_size == found.config.vocab_size
    assert found.weights()["embedding"].shape == (found.config.vocab_size, found.config.embedding_size)
    assert len(found.digest) == 64


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model", "metrics.json", "README.md"])
@pytest.mark.parametrize("harm", ["altered", "cut", "missing"])
def test_a_harmed_file_is_refused_by_name(tiny_checkpoint, tmp_path, name, harm):
    folder = copy_of(tiny_checkpoint, tmp_path)
    raw = bytearray((folder / name).read_bytes())
    if harm == "missing":
        (folder / name).unlink()
    else:
        raw[len(raw) // 2] ^= 1
        (folder / name).write_bytes(raw if harm == "altered" else raw[:-1])
    with pytest.raises(Refused, match=name) as refusal:
        checkpoint.load(folder)
    assert "\n" not in str(refusal.value)


def forged(folder, tmp_path, **changed):
    """A copy whose manifest is right about files that were changed: name__json for name.json."""
    files = checkpoint.load(folder).files() | {name.replace("__", "."): raw for name, raw in changed.items()}
    checkpoint.save(tmp_path / "forged", files)
    return tmp_path / "forged"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tiny_checkpoint, tmp_path, value):
    weights = checkpoint.load(tiny_checkpoint).weights()
    weights["bias.0"][3] = value
    folder = forged(tiny_checkpoint, tmp_path, model__safetensors=safetensors.numpy.save(weights))
    with pytest.raises(Refused, match=r"bias\.0"):
        checkpoint.load(folder).weights()


def spoil(weights, how):
    if how == "missing":
        del weights["projection"]
    elif how == "extra":
        weights["more"] = np.zeros(3, np.float32)
    elif how == "misshapen":
        weights["projection"] = weights["projection"].T.copy()
    elif how == "whole numbers":
        weights["projection"] = weights["projection"].astype(np.int32)
    return b"no weights" if how == "no weights" else safetensors.numpy.save(weights)


@pytest.mark.parametrize("how", ["missing", "extra", "misshapen", "whole numbers", "no weights"])
def test_weights_of_another_shape_are_refused(tiny_checkpoint, tmp_path, how):
    raw = spoil(checkpoint.load(tiny_checkpoint).weights(), how)
    opened = checkpoint.load(forged(tiny_checkpoint, tmp_path, model__safetensors=raw))
    with pytest.raises(Refused, match=r"model\.safetensors"):
        opened.weights()
    with pytest.raises(Refused, match=r"model\.safetensors"):
        results.open_checkpoint(opened.path)


def test_the_shapes_of_the_settings_are_those_of_the_model():
    for layers in (1, 3):
        config = ModelConfig(vocab_size=300, embedding_size=8, hidden_size=12, layers=layers)
        weights = LanguageModel(config).state_dict()
        assert {name: tuple(w.shape) for name, w in weights.items()} == config.weight_shapes


@pytest.mark.parametrize(
    "changed",
    [
        {"metrics__json": b'{"seconds": NaN}'},
        {"metrics__json": b'{"seconds": 1e999}'},
        {"metrics__json": b"[" * 100_000},
        {"metrics__json": b"3"},
        {"config__json": b'{"layers": 99}'},
        {"config__json": b'{"vocab_size": 5000}'},
        {"config__json": b"\xff" * 99},
        {"tokenizer__model": b""},
        {"tokenizer__model": b"no tokenizer" * 9},
    ],
)
def test_what_makes_no_sense_is_refused_even_with_its_digest(tiny_checkpoint, tmp_path, changed):
    folder = forged(tiny_checkpoint, tmp_path, **changed)
    with pytest.raises(Refused) as refusal:
        checkpoint.load(folder)
    assert "\n" not in str(refusal.value)


STRANGE = [b"", b"[]", b'{"sha256": {}}', b'{"sha256": {"../x": "y"}}', b"\xff", b"[" * 100_000, b'{"sha256": 1e999}']


@pytest.mark.parametrize("manifest", STRANGE)
def test_a_strange_manifest_is_refused(tiny_checkpoint, tmp_path, manifest):
    folder = copy_of(tiny_checkpoint, tmp_path)
    (folder / checkpoint.MANIFEST).write_bytes(manifest)
    with pytest.raises(Refused):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", ".", "", "a/b", "a\n\x1b[2J", "\0", "x" * 200])
def test_a_manifest_lists_files_of_its_own_folder_only(tiny_checkpoint, tmp_path, name):
    folder = copy_of(tiny_checkpoint, tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    listed = checkpoint.load(folder).listed | {name: hashlib.sha256(b"secret").hexdigest()}
    (folder / checkpoint.MANIFEST).write_bytes(checkpoint.manifest(listed))
    with pytest.raises(Refused, match="not as it was saved") as refusal:
        checkpoint.load(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("change", ["drop README.md", "drop model.onnx", "drop config.json", "space", "twice"])
def test_a_manifest_that_was_altered_is_refused(tiny_checkpoint, tmp_path, change):
    folder = copy_of(tiny_checkpoint, tmp_path)
    raw = (folder / checkpoint.MANIFEST).read_bytes()
    listed = json.loads(raw)["sha256"]
    if change.startswith("drop "):
        del listed[change.removeprefix("drop ")]
        raw = checkpoint.manifest(listed)
    else:
        raw = raw + b" " if change == "space" else raw.replace(b'"sha256"', b'"sha256": {}, "sha256"')
    (folder / checkpoint.MANIFEST).write_bytes(raw)
    with pytest.raises(Refused, match=r"manifest\.json"):
        checkpoint.load(folder)


def test_a_file_that_is_not_ours_is_never_opened(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path)
    os.mkfifo(folder / "model.pt")  # whoever opened it would wait for ever
    assert checkpoint.load(folder).files().keys() == checkpoint.load(tiny_checkpoint).listed.keys()


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.safetensors", "README.md"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop", "nowhere", "vast"])
def test_what_is_no_file_of_a_checkpoint_is_refused_at_once(tiny_checkpoint, tmp_path, name, kind):
    folder = copy_of(tiny_checkpoint, tmp_path)
    file = folder / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "vast":
        with open(file, "wb") as sparse:
            sparse.truncate(2**40)
    else:
        file.symlink_to({"device": "/dev/zero", "loop": file, "nowhere": tmp_path / "nowhere"}[kind])
    with pytest.raises(Refused, match=name):
        checkpoint.load(folder)


def test_links_to_the_right_files_are_followed(tiny_checkpoint, tmp_path):
    (tmp_path / "linked").mkdir()
    for file in tiny_checkpoint.iterdir():
        (tmp_path / "linked" / file.name).symlink_to(file)
    assert checkpoint.load(tmp_path / "linked").digest == checkpoint.load(tiny_checkpoint).digest


@pytest.mark.parametrize("kind", ["file", "pipe", "loop", "long", "zero", "missing", "empty"])
def test_a_path_that_is_no_checkpoint_is_refused(tmp_path, kind):
    path = tmp_path / kind
    if kind == "file":
        path.write_text("{}")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "empty":
        path.mkdir()
    path = {"long": tmp_path / ("x" * 5000), "zero": tmp_path / "a\0b"}.get(kind, path)
    with pytest.raises(Refused):
        checkpoint.load(path)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    checkpoint.save(tmp_path / "a", {"one": b"1"})
    with pytest.raises(Refused, match="exists"):
        checkpoint.save(tmp_path / "a", {"one": b"2"})
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
    checkpoint.save(tmp_path / "a", {"two": b"2"}, replace=True)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["manifest.json", "two"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_leads_to_the_folder_that_is_replaced(tmp_path):
    checkpoint.save(tmp_path / "a", {"one": b"1"})
    (tmp_path / "link").symlink_to(tmp_path / "a")
    checkpoint.save(tmp_path / "link", {"one": b"2"}, replace=True)
    assert (tmp_path / "a" / "one").read_bytes() == b"2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]


@pytest.mark.parametrize("fault", [full_disk, read_only])
def test_a_disk_that_fails_leaves_the_old_one(tmp_path, fault):
    home = tmp_path / "home"
    checkpoint.save(home / "a", {"one": b"1"})
    with fault(home), pytest.raises(Refused, match="cannot be written"):
        checkpoint.save(home / "a", {"one": b"2" * 5000}, replace=True)
    assert (home / "a" / "one").read_bytes() == b"1"
    assert json.loads((home / "a" / checkpoint.MANIFEST).read_text())["sha256"].keys() == {"one"}
    assert [p.name for p in home.iterdir()] == ["a"]


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two steps"])
def test_a_replacement_that_fails_leaves_the_old_one(tmp_path, monkeypatch, exchange):
    checkpoint.save(tmp_path / "a", {"one": b"1"})
    (tmp_path / ".a.old").write_text("in the way")  # a file: no folder can be put aside under its name
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_words, **_options: None)  # as on a system without renameat2
        with pytest.raises(Refused, match="cannot be written"):
            checkpoint.save(tmp_path / "a", {"one": b"2"}, replace=True)
        assert (tmp_path / "a" / "one").read_bytes() == b"1"
        (tmp_path / ".a.old").unlink()
    checkpoint.save(tmp_path / "a", {"one": b"3"}, replace=True)
    assert (tmp_path / "a" / "one").read_bytes() == b"3"
    assert {p.name for p in tmp_path.iterdir()} <= {"a", ".a.old"}


def save_for_ever(folder):
    for n in range(10**9):
        checkpoint.save(folder, {"one": b"%d" % n * 1000}, replace=True)


def test_a_kill_in_the_midst_of_a_save_leaves_a_whole_one(tmp_path):
    folder = tmp_path / "a"
    checkpoint.save(folder, {"one": b"0"})
    for _ in range(20):
        saving = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(folder,))
        saving.start()
        while not list(tmp_path.glob(".a.*.part")):
            assert saving.is_alive()
            time.sleep(1e-4)
        saving.kill()
        saving.join()
        [digest] = json.loads((folder / checkpoint.MANIFEST).read_bytes())["sha256"].values()
        assert hashlib.sha256((folder / "one").read_bytes()).hexdigest() == digest
    (tmp_path / ".a.b").mkdir()  # another's
    checkpoint.recover(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.b", "a"]


def test_a_kill_between_two_steps_is_mended(tmp_path):
    checkpoint.save(tmp_path / "a", {"one": b"1"})
    (tmp_path / "a").rename(tmp_path / ".a.old")
    checkpoint.recover(tmp_path / "a")
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
