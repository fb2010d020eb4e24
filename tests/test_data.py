import numpy as np
import pytest
from conftest import make_text

from lstm import data
from lstm.config import Refused
from lstm.tokenizer import Tokenizer

IDS = np.arange(1000, dtype=np.uint16)


def lanes(**changes) -> data.Lanes:
    return data.Lanes(**{"ids_of": lambda _: IDS, "lanes": 4, "window": 16, "seed": 3} | changes)


def test_lanes_are_contiguous_and_targets_come_one_later():
    reader = lanes()
    before = next(reader)
    for _ in range(reader.windows - 1):
        batch = next(reader)
        assert np.array_equal(batch.inputs[:, 0], before.targets[:, -1])
        assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        before = batch


def test_an_epoch_reads_each_target_once():
    reader = lanes(window=25)
    seen = np.concatenate([next(reader).targets.ravel() for _ in range(reader.windows)])
    assert sorted(seen) == list(range(1000))


def test_a_cursor_goes_on_where_it_stood():
    reader, other = lanes(), lanes()
    for _ in range(23):
        next(reader)
    other.seek(reader.cursor)
    for _ in range(40):
        assert np.array_equal(next(reader).inputs, next(other).inputs)


def test_each_epoch_turns_the_text():
    reader = lanes()
    first = next(reader).inputs
    reader.seek(data.Cursor(1, 0))
    assert not np.array_equal(first, next(reader).inputs)


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(Refused, match="fewer lanes"):
        lanes(lanes=900)


def test_ids_on_disk_hold_every_passage_once(tmp_path):
    texts = [make_text(4000, seed) for seed in range(2)]
    tokenizer = Tokenizer.train(texts, 400)
    ids = data.write_ids(texts, tokenizer, tmp_path / "ids.bin", seed=0)
    wanted = [i for text in texts for passage in data.passages(text) for i in tokenizer.encode(passage)]
    assert sorted(ids.tolist()) == sorted(wanted)
    assert ids.tolist() != wanted
    assert len(list(data.passages(texts[0]))) > 3
    assert "".join(data.passages(texts[0])) == texts[0]
