"""How fast texts are written, against the usual ways and against what the machine could do at most.

    python benchmarks/generation.py [--shapes A B jungle-book] [--seeds 1000] [--threads 1]

prints tables and, at the end, one line of JSON. One token includes its sampling (temperature 0.8, top-k 40). Shape B is
AWD-LSTM's (4,096 pieces, 400, 1150/1150/400) with as many weights in three layers of one width, as here. Weights are
random but in the comparison of texts.
"""

import argparse
import json
import sys

import numpy as np
import torch
from machine import ROOT, bandwidth, describe, peak, seconds, table
from torch import nn

sys.path.insert(0, str(ROOT))

from lstm import checkpoint, sampling
from lstm.batch import Batch
from lstm.config import ModelConfig, SamplingConfig
from lstm.engine import start
from lstm.export import build
from lstm.model import LanguageModel
from lstm.runtime import Rows, Runtime, open_runtime
from lstm.text import Text

SHAPES = {
    "A": ModelConfig(vocab_size=2048, embedding_size=256, hidden_size=512, layers=2),
    "B": ModelConfig(vocab_size=4096, embedding_size=400, hidden_size=956, layers=3),
}
STREAMS = (1, 4, 16, 64)
SHIPPED = "jungle-book"


class Usual(nn.Module):
    """The model as most programs have it: nn.LSTM between an embedding and a tied output."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.lstm = nn.LSTM(config.embedding_size, config.hidden_size, config.layers, batch_first=True)
        self.projection = nn.Linear(config.hidden_size, config.embedding_size, bias=False)

    def forward(self, ids, state=None):
        """ids (B, T) -> a drawn id for each row (B, 1), and the state."""
        y, state = self.lstm(self.embedding(ids), state)
        logits = self.projection(y[:, -1]) @ self.embedding.weight.t()
        best = torch.topk(logits / 0.8, 40)
        return best.indices.gather(1, torch.multinomial(best.values.softmax(dim=1), 1)), state


@torch.inference_mode()
def again(model: Usual, length: int) -> float:
    """Seconds a token where the whole text is read again for each, the mean over a text of so many tokens."""
    lengths = [round((n + 0.5) * length / 8) for n in range(8)]
    return float(np.mean([seconds(lambda n=n: model(torch.zeros(1, n, dtype=torch.long)), 0.3) for n in lengths]))


@torch.inference_mode()
def carried(model: Usual, rows: int) -> float:
    """Seconds a step of so many rows with the state carried."""
    ids, state = model(torch.zeros(rows, 1, dtype=torch.long))
    return seconds(lambda: model(ids, state))


@torch.inference_mode()
def written_out(model: LanguageModel, rows: int) -> float:
    """Seconds a step of this project's own step in torch, with sampling in NumPy."""
    state, ids = model.initial_state(rows), torch.zeros(rows, dtype=torch.long)
    settings = sampling.Settings.of([SamplingConfig()] * rows, model.config.vocab_size)
    uniform = np.random.default_rng(0).random(rows)
    return seconds(lambda: sampling.choose(model.step(ids, state)[0].numpy(), settings, uniform))


def ours(runtime: Runtime, count: int) -> tuple[float, float]:
    """Seconds a step of so many rows: the runtime alone, and with sampling."""
    rows = Rows(runtime, count)
    settings = sampling.Settings.of([SamplingConfig()] * count, runtime.config.vocab_size)
    uniform = np.random.default_rng(0).random(count)

    def write():
        rows.ids[:] = sampling.choose(rows.step(count), settings, uniform).ids

    return seconds(lambda: rows.step(count)), seconds(write)


def measure(name: str, config: ModelConfig, threads: int) -> dict:
    """All figures of one shape: microseconds a token for one stream, tokens a second for many."""
    torch.manual_seed(0)
    model, usual = LanguageModel(config).eval(), Usual(config).eval()
    graph = build({key: values.numpy() for key, values in model.state_dict().items()}, config)
    runtime = Runtime(graph, config, threads)
    E, H = config.embedding_size, config.hidden_size
    weights = 4 * H * (E + H) + (config.layers - 1) * 8 * H * H + E * H + config.vocab_size * E
    steps = {count: ours(runtime, count) for count in STREAMS}
    micro = {
        "again, 100": again(usual, 100),
        "again, 400": again(usual, 400),
        "carried": carried(usual, 1),
        "written out": written_out(model, 1),
        "ours": steps[1][1],
        "step alone": steps[1][0],
        "floor": len(graph) / bandwidth(len(graph)),
    }
    return {
        "shape": name,
        "weights": weights,
        "graph_bytes": len(graph),
        "one_stream_us": {way: round(value * 1e6, 1) for way, value in micro.items()},
        "times_again_400": round(micro["again, 400"] / micro["ours"], 1),
        "times_carried": round(micro["carried"] / micro["ours"], 1),
        "tokens_per_second": {
            "carried": {n: round(n / carried(usual, n)) for n in STREAMS},
            "written out": {n: round(n / written_out(model, n)) for n in STREAMS},
            "ours": {n: round(n / steps[n][1]) for n in STREAMS},
        },
        "share_of_peak": round(2 * weights * 64 / steps[64][0] / peak(), 2),
    }


def show(report: dict) -> None:
    """Print the tables."""
    shapes = report["shapes"]
    print(f"{report['processor']}, {report['threads']} of {report['cores']} cores, commit {report['commit']}\n")
    heads = ["one stream, µs a token", *shapes[0]["one_stream_us"], "x again, 400", "x carried"]
    rows = [
        [
            f"{shape['shape']}, {shape['weights']:,} weights",
            *shape["one_stream_us"].values(),
            shape["times_again_400"],
            shape["times_carried"],
        ]
        for shape in shapes
    ]
    print(table(heads, rows), "\n")
    heads = ["tokens a second", *(f"{n} streams" for n in STREAMS), "step at 64, share of peak"]
    rows = [
        [f"{shape['shape']}, {way}", *speeds.values(), shape["share_of_peak"] if way == "ours" else ""]
        for shape in shapes
        for way, speeds in shape["tokens_per_second"].items()
    ]
    print(table(heads, rows), "\n")
    if same := report.get("same_texts"):
        print(f"{same['same']:,} of {same['seeds']:,} texts are the same alone and among 63 others, ", end="")
        print(f"{same['events_per_second']:,} events/s at 64 streams\n")
    print(json.dumps(report))


def same_texts(opened: checkpoint.Checkpoint, seeds: int, length: int = 50) -> dict:
    """How many texts are the same alone and among 63 others, ids and probabilities; tokens a second of the batch."""
    runtime = open_runtime(opened)
    beginning = start("The old wolf", None, opened)

    def write(batch: Batch, some: range) -> list[list[tuple]]:
        texts = [Text(beginning, SamplingConfig(seed=seed, length=length), opened.tokenizer) for seed in some]
        written = {text: [] for text in texts}
        for text in texts:
            batch.join(text)
        while len(batch):
            for text, event in batch.turn():
                written[text].append((event.id, event.text, event.log_probability, event.entropy))
        return list(written.values())

    together, alone = Batch(runtime, 64), Batch(runtime, 1)
    same = 0
    for first in range(0, seeds, 64):
        some = range(first, min(seeds, first + 64))
        same += sum(one == write(alone, range(n, n + 1))[0] for n, one in zip(some, write(together, some), strict=True))
    speed = 64 * length / seconds(lambda: write(together, range(64)), 2)
    return {"seeds": seeds, "same": same, "events_per_second": round(speed)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="*", default=["A", "B", SHIPPED], help="A, B or a shipped checkpoint's name")
    parser.add_argument("--seeds", type=int, default=1000, help="texts to compare alone and among 63 others")
    parser.add_argument("--threads", type=int, default=1, help="of every way that is measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = {**describe(), "threads": options.threads, "shapes": []}
    for name in options.shapes:
        config = SHAPES.get(name) or checkpoint.load(ROOT / "checkpoints" / name).config
        report["shapes"].append(measure(name, config, options.threads))
    if options.seeds:
        report["same_texts"] = same_texts(checkpoint.load(ROOT / "checkpoints" / SHIPPED), options.seeds)
    show(report)


if __name__ == "__main__":
    main()
