import math

import pytest
import torch
from conftest import make_text

from lstm import adaptation, evaluation
from lstm.adaptation import AdaptationConfig
from lstm.config import ModelConfig
from lstm.model import LanguageModel
from lstm.tokenizer import Tokenizer

TEXT = make_text(60)
TOKENIZER = Tokenizer.train([TEXT], 320)
NOTHING = AdaptationConfig(cache_weight=0, dynamic_rate=0, dynamic_decay=0)


def make() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(vocab_size=TOKENIZER.vocab_size, embedding_size=16, hidden_size=24, layers=1))


@pytest.mark.parametrize("adapt", ["none", "cache", "dynamic", "both"])
def test_adapting_by_nothing_equals_plain_reading(adapt):
    model = make()
    plain = evaluation.evaluate(model, TOKENIZER, TEXT[300:], TEXT[:300])
    score = adaptation.evaluate(model, TOKENIZER, TEXT[300:], TEXT[:300], adapt, NOTHING)
    assert score.nats == pytest.approx(plain.nats, rel=1e-6)
    assert (score.tokens, score.bytes) == (plain.tokens, plain.bytes)


@pytest.mark.parametrize("adapt", ["cache", "dynamic", "both"])
def test_adapting_helps_on_a_text_that_repeats_and_leaves_the_model_alone(adapt):
    model = make()
    before = [p.clone() for p in model.parameters()]
    plain = evaluation.evaluate(model, TOKENIZER, TEXT)
    assert adaptation.evaluate(model, TOKENIZER, TEXT, "", adapt, AdaptationConfig()).nats < 0.95 * plain.nats
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_cache_counts_as_by_hand(chunk):
    torch.manual_seed(1)
    N, config = 12, AdaptationConfig(cache_weight=0.3, cache_sharpness=2.0, cache_size=5)
    features, targets, nats = torch.randn(N, 4), torch.randint(3, (N,)), torch.rand(N, dtype=torch.float64) + 0.5
    wanted = []
    for t in range(N):
        votes = {
            s: math.exp(2.0 * float(torch.cosine_similarity(features[t], features[s], dim=0)))
            for s in range(max(0, t - 5), t)
        }
        share = sum(v for s, v in votes.items() if targets[s] == targets[t]) / (sum(votes.values()) or 1)
        weight = 0.3 if votes else 0
        wanted.append(-math.log((1 - weight) * math.exp(-float(nats[t])) + weight * share))
    found = adaptation.with_cache(features, targets, nats, config, chunk)
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)


def test_nothing_is_learnt_from_a_token_before_it_was_scored():
    model, config = make(), AdaptationConfig(segment=8)
    ids = TOKENIZER.encode(TEXT)[:65]
    changed = [*ids[:40], *reversed(ids[40:])]
    one, two = (adaptation._read(model, torch.tensor(x), config) for x in (ids, changed))
    assert torch.equal(one[1][:39], two[1][:39])
    mixed = [adaptation.with_cache(f, torch.tensor(x[1:]), n, config) for (f, n), x in ((one, ids), (two, changed))]
    assert torch.equal(mixed[0][:39], mixed[1][:39])
