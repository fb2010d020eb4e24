import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from lstm import checkpoint
from lstm.config import Refused


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


def test_weights_that_are_not_finite_are_refused(tiny_checkpoint, tmp_path):
    folder = copy_of(tiny_checkpoint, tmp_path)
    weights = checkpoint.load(folder).weights()
    weights["bias.0"][3] = np.nan
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != checkpoint.MANIFEST}
    checkpoint.save(folder, files | {"model.safetensors": safetensors.numpy.save(weights)}, replace=True)
    with pytest.raises(Refused, match=r"bias\.0"):
        checkpoint.load(folder).weights()


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"sha256": {}}', b'{"sha256": {"../x": "y"}}', b"\xff"])
def test_a_strange_manifest_is_refused(tiny_checkpoint, tmp_path, manifest):
    folder = copy_of(tiny_checkpoint, tmp_path)
    (folder / checkpoint.MANIFEST).write_bytes(manifest)
    with pytest.raises(Refused):
        checkpoint.load(folder)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    checkpoint.save(tmp_path / "a", {"one": b"1"})
    with pytest.raises(Refused, match="exists"):
        checkpoint.save(tmp_path / "a", {"one": b"2"})
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
    checkpoint.save(tmp_path / "a", {"two": b"2"}, replace=True)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["manifest.json", "two"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdtemp"])
def test_a_failing_disk_leaves_the_old_one(tmp_path, monkeypatch, call):
    checkpoint.save(tmp_path / "a", {"one": b"1"})

    def full(*_words, **_options):
        raise OSError(28, "No space left on device")

    target = {"fsync": checkpoint.os, "rename": checkpoint.Path, "mkdtemp": checkpoint.tempfile}[call]
    with monkeypatch.context() as patch:
        patch.setattr(target, call, full)
        with pytest.raises(Refused, match="No space left"):
            checkpoint.save(tmp_path / "a", {"one": b"2"}, replace=True)
    assert (tmp_path / "a" / "one").read_bytes() == b"1"
    assert json.loads((tmp_path / "a" / checkpoint.MANIFEST).read_text())["sha256"].keys() == {"one"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
