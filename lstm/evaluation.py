"""Bits per UTF-8 byte and perplexity of a text, each target counted once, state carried all the way."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lstm.model import LanguageModel, State, surprise
from lstm.score import Score
from lstm.tokenizer import Tokenizer


def never() -> bool:
    """The wish to stop of those who have none."""
    return False


@torch.no_grad()
def read(
    model: LanguageModel, ids: Tensor, state: State, chunk: int = 256, stop: Callable[[], bool] = never
) -> tuple[Tensor, State]:
    """Nats of each target: ids (B, N) -> (B, N - 1) float64, and the state after the last input.

    Chunks of any size give the same figures, since the state is carried. stop() is asked before each: where it says
    so reading ends, with fewer targets.
    """
    was_training = model.training
    model.eval()
    nats = [torch.empty(len(ids), 0, dtype=torch.float64)]
    for start in range(0, ids.shape[1] - 1, chunk):
        if stop():
            break
        window = ids[:, start : start + chunk + 1].to(model.output_bias.device)
        logits, state = model(window[:, :-1], state)
        nats.append(surprise(logits, window[:, 1:]).double().cpu())
    model.train(was_training)
    return torch.cat(nats, dim=1), state


def evaluate(model: LanguageModel, tokenizer: Tokenizer, text: str, context: str = "", chunk: int = 256) -> Score:
    """Score a text after a context, which is read but not scored.

    The very first token is foretold from a line break, so that every byte counts. Raises ValueError for no text.
    """
    before, ids = tokenizer.encode(context), tokenizer.encode(text, after=context)
    if not ids:
        raise ValueError("there is no text to score")
    nats, _ = read(model, torch.tensor([tokenizer.encode("\n") + before + ids]), model.initial_state(1), chunk)
    return Score(float(nats[0, len(before) :].sum()), len(ids), len(text.encode()))


def estimate(
    model: LanguageModel,
    ids: Sequence[int],
    size: int,
    stop: Callable[[], bool] = never,
    lanes: int = 8,
    warm_up: int = 64,
) -> Score | None:
    """Score the ids of a text of so many bytes in parallel lanes, each after some tokens that are read, not scored.

    None if stop(), which is asked again and again, says so before the end.
    Several times faster than evaluate and a little worse, for the shorter memory: for watching a training run. What
    is left over after the last whole lane is not read, and its share of the bytes is not counted.
    """
    length = len(ids) // lanes
    padded = torch.tensor([*ids[-warm_up - 1 :], *ids])
    rows = torch.stack([padded[n * length : (n + 1) * length + warm_up + 1] for n in range(lanes)])
    nats, _ = read(model, rows, model.initial_state(lanes), stop=stop)
    if nats.shape[1] < rows.shape[1] - 1:
        return None
    return Score(float(nats[:, warm_up:].sum()), lanes * length, round(size * lanes * length / len(ids)))
