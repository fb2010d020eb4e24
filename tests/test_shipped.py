"""The checkpoint that comes with the repository is whole, small, and reads the book as well as it says."""

import json

import numpy as np
import pytest
from conftest import SHIPPED

from lstm import checkpoint, runtime
from lstm.config import SamplingConfig
from lstm.engine import write

BAR = 1.58  # bits per byte of the test text
LIMIT = 40_000_000  # bytes


@pytest.fixture(scope="module")
def shipped() -> checkpoint.Checkpoint:
    return checkpoint.load(SHIPPED)


def test_it_is_small_and_its_weights_are_numbers(shipped):
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= LIMIT
    assert all(np.isfinite(values).all() for values in shipped.weights().values())


def test_it_reads_the_book_as_its_card_says(shipped, benchmark_texts):
    claimed = shipped.metrics["scores"]["test"]["bits_per_byte"]
    found = runtime.evaluate(shipped, benchmark_texts["test"], benchmark_texts["valid"])
    assert found.bytes == 13_924
    assert found.bits_per_byte == pytest.approx(claimed, abs=0.005)  # 8 bits against the float32 of the card
    assert claimed <= BAR
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert f"| test | {claimed:.3f} |" in card


def test_it_never_read_the_test_text(shipped, benchmark_texts):
    lineage = [json.loads((SHIPPED / "metrics.json").read_text())]
    while parent := lineage[-1].get("parent"):
        lineage.append(parent["metrics"])
    sizes = {document["bytes"] for facts in lineage for document in facts["corpus"]}
    assert len(benchmark_texts["train"].encode()) in sizes
    whole = sum(len(text.encode()) for text in benchmark_texts.values())
    assert not sizes & {whole, len(benchmark_texts["test"].encode())}


def test_it_writes_the_same_text_for_the_same_seed(shipped):
    texts = [
        "".join(event.text for event in write(shipped, "Mowgli crept", SamplingConfig(length=60, seed=3)))
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 60
