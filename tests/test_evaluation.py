import itertools
import json
import math

import pytest
import torch
from conftest import make_text, run

from lstm import evaluation
from lstm.config import ModelConfig
from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer

TEXT = make_text(120)
TOKENIZER = Tokenizer.train([TEXT], 320)


def make() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(vocab_size=TOKENIZER.vocab_size, embedding_size=16, hidden_size=24, layers=2))


def test_a_count_by_hand_gives_the_same_bits():
    model, context, text = make(), "The old bear ran. ", "A café—by night.\n"
    ids = TOKENIZER.encode("\n") + TOKENIZER.encode(context) + TOKENIZER.encode(text, after=context)
    scored = len(TOKENIZER.encode(text, after=context))
    state, bits = model.initial_state(1), []
    with torch.no_grad():
        for read, target in itertools.pairwise(ids):
            logits, state, _ = model.step(torch.tensor([read]), state)
            bits.append(-math.log2(float(logits.double().softmax(1)[0, target])))
    score = evaluation.evaluate(model, TOKENIZER, text, context)
    assert score.bytes == len(text.encode()) == 20
    assert score.tokens == scored
    assert score.bits_per_byte == pytest.approx(sum(bits[-scored:]) / 20, rel=1e-5)
    assert score.perplexity == pytest.approx(2 ** (sum(bits[-scored:]) / scored), rel=1e-4)


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_chunks_of_any_size_equal_the_whole(chunk):
    model = make()
    whole = evaluation.evaluate(model, TOKENIZER, TEXT, chunk=10**6)
    assert evaluation.evaluate(model, TOKENIZER, TEXT, chunk=chunk).nats == pytest.approx(whole.nats, rel=1e-6)


def test_a_context_and_its_text_add_up():
    model, cut = make(), 1234
    whole = evaluation.evaluate(model, TOKENIZER, TEXT)
    first = evaluation.evaluate(model, TOKENIZER, TEXT[:cut])
    rest = evaluation.evaluate(model, TOKENIZER, TEXT[cut:], context=TEXT[:cut])
    assert first.bytes + rest.bytes == whole.bytes
    if first.tokens + rest.tokens == whole.tokens:  # the cut fell between two pieces
        assert first.nats + rest.nats == pytest.approx(whole.nats, rel=1e-6)


def test_the_estimate_is_near_the_exact_score():
    model, ids = make(), TOKENIZER.encode(TEXT)
    exact = evaluation.evaluate(model, TOKENIZER, TEXT)
    assert evaluation.estimate(model, ids, exact.bytes).bits_per_byte == pytest.approx(exact.bits_per_byte, rel=0.02)


def test_the_command_prints_one_json_object(tiny_checkpoint, texts):
    words = ["-m", "lstm", "evaluate", tiny_checkpoint, texts / "test.txt", "--context", texts / "valid.txt", "--json"]
    printed = json.loads(run(*words).stdout)
    assert set(printed) == {"bits_per_byte", "perplexity", "bytes", "tokens", "seconds"}
    assert printed["bytes"] == (texts / "test.txt").stat().st_size
    assert 0.1 < printed["bits_per_byte"] < 4
