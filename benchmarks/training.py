"""Training speed: our loop, the plain loop that everyone writes, and this machine's matrix products, in one run.

    python benchmarks/training.py [--preset base] [--steps 8]

Prints tokens/s of each, their ratios, and the share of the measured peak that the model's own products reach.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from machine import ROOT
from torch import nn

sys.path.insert(0, str(ROOT))

from lstm import training
from lstm.config import ModelConfig, TrainConfig, load_preset
from lstm.model import LanguageModel


class PlainModel(nn.Module):
    """nn.LSTM with dropout between its layers and a tied output, in float32."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size,
            config.layers,
            dropout=0.1 * (config.layers > 1),
            batch_first=True,
        )
        self.projection = nn.Linear(config.hidden_size, config.embedding_size, bias=False)
        self.output = nn.Linear(config.embedding_size, config.vocab_size)
        self.output.weight = self.embedding.weight

    def forward(self, ids, state):
        y, state = self.lstm(self.embedding(ids), state)
        return self.output(self.projection(y)), state


def plain_loop(config: ModelConfig, train: TrainConfig, ids: np.ndarray, autocast: bool) -> Callable[[], None]:
    """One step of the loop that everyone writes: AdamW, clipped gradients, detached state."""
    model = PlainModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    zeros = torch.zeros(config.layers, train.lanes, config.hidden_size)
    windows = torch.from_numpy(ids[: train.lanes * (train.window + 1)].astype(np.int64)).view(train.lanes, -1)
    state = (zeros, zeros)

    def step() -> None:
        nonlocal state
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits, (h, c) = model(windows[:, :-1], state)
        F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        state = (h.detach().float(), c.detach().float())

    return step


def seconds(step: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that is not counted."""
    step()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def product_peak(dtype: torch.dtype, size: int = 2048) -> float:
    """Operations a second of a square matrix product."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, 12)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="base")
    parser.add_argument("--steps", type=int, default=8)
    words = parser.parse_args()
    values = load_preset(words.preset)
    config = ModelConfig.checked(**{name: values.pop(name) for name in ModelConfig.model_fields if name in values})
    train = TrainConfig.checked(**values | {"device": "cpu"})
    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, 2_000_000).astype(np.uint16)

    run = training.start(train, LanguageModel(config), lambda _: ids, len(ids))
    run.model.train()
    weights = sum(p.numel() for p in run.model.parameters() if p.dim() == 2)
    tokens = train.lanes * train.window
    loops = {
        "ours": lambda: training.take_step(run),
        "plain, float32": plain_loop(config, train, ids, autocast=False),
        "plain, bfloat16 autocast": plain_loop(config, train, ids, autocast=True),
    }
    peaks = {str(d).removeprefix("torch."): product_peak(d) for d in (torch.float32, torch.bfloat16)}
    rates = {name: tokens / seconds(step, words.steps) for name, step in loops.items()}

    print(
        f"{words.preset}: {weights:,} weights in matrices, {train.lanes} lanes x {train.window}, {torch.__version__}, "
    )
    print(
        f"{torch.get_num_threads()} threads; products of 2048: "
        + ", ".join(f"{n} {p / 1e9:.0f} GFLOP/s" for n, p in peaks.items())
    )
    print(f"{'loop':26}{'tokens/s':>10}{'ratio':>8}{'GFLOP/s':>10}{'of bf16 peak':>14}")
    for name, rate in rates.items():
        operations = 6 * weights * rate  # forward 2, backward 4 for each weight and token; Muon's own are not counted
        share = operations / peaks["bfloat16"]
        print(f"{name:26}{rate:10,.0f}{rate / rates['plain, float32']:8.2f}{operations / 1e9:10.0f}{share:14.2f}")


if __name__ == "__main__":
    main()
