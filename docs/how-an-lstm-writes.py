"""Draws the figures of how-an-lstm-writes.md: python docs/how-an-lstm-writes.py [CHECKPOINT], from the root.

Everything is measured on a text that the checkpoint itself writes with seed 7, so no book is needed.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
sys.path.insert(0, str(ROOT))

from lstm import checkpoint  # noqa: E402
from lstm.config import SamplingConfig  # noqa: E402
from lstm.engine import write  # noqa: E402
from lstm.web.reader import Reader, Trace  # noqa: E402

PROMPT, TOKENS, SHOWN = "Mowgli crept through the long grass", 3000, 110
LEAF, RUST, AMBER, INK, QUIET = "#2f6248", "#98401f", "#e8b06a", "#22271f", "#646a5e"


def main() -> None:
    """Write a text, read it again with every gate in view, draw."""
    opened = checkpoint.load(sys.argv[1] if len(sys.argv) > 1 else ROOT / "checkpoints" / "jungle-book")
    events = list(write(opened, PROMPT, SamplingConfig(length=TOKENS, seed=7)))
    trace = Reader(opened).trace(PROMPT, [event.id for event in events])
    pieces = [event.text for event in events]
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": QUIET, "text.color": INK})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "jungle"})
    FIGURES.mkdir(exist_ok=True)
    save(speech(trace, pieces), "speech")
    save(lives(trace), "lives")


def speech(trace: Trace, pieces: list[str]) -> plt.Figure:
    """The unit whose cell tells best whether somebody speaks, over a stretch of the text."""
    inside = spoken(pieces)
    cells = trace.cell.reshape(len(pieces), -1)
    likeness = correlation(cells, inside)
    best = int(np.abs(likeness).argmax())
    layer, unit = divmod(best, trace.cell.shape[2])
    turns = np.abs(np.diff(inside))
    start = next((n for n in range(len(pieces) - SHOWN) if turns[n : n + SHOWN].sum() == 4), 0)  # two speeches
    shown = slice(start, start + SHOWN)
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(10, 4.2), layout="constrained")
    values = cells[shown, best]
    above.bar(range(SHOWN), values, width=0.9, color=np.where(values > 0, LEAF, RUST))
    for name, part, colour in [("forget gate", trace.forget, LEAF), ("input gate", trace.input, RUST)]:
        below.step(range(SHOWN), part[shown, layer, unit], where="mid", label=name, color=colour)
    for axes in (above, below):
        for n in np.flatnonzero(inside[shown]):
            axes.axvspan(n - 0.5, n + 0.5, color=AMBER, alpha=0.3, linewidth=0)
    labels = [piece.replace("\n", "⏎") for piece in pieces[shown]]
    below.set_xticks(range(SHOWN), labels, rotation=90, fontsize=6.5)
    below.set(xlim=(-0.6, SHOWN - 0.4), ylim=(-0.03, 1.03), ylabel="gates")
    below.legend(frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 0.98))
    above.set(ylabel="cell state")
    told = f"Layer {layer + 1}, unit {unit}. Shaded: between quotation marks"
    above.set_title(
        f"{told}; correlation {likeness[best]:+.2f} over {len(pieces):,} tokens".replace("-", "−"),
        loc="left",
        fontsize=9,
    )
    return figure


def spoken(pieces: list[str]) -> np.ndarray:
    """Whether each token stands between quotation marks, 0 or 1; a new paragraph ends speech."""
    inside, told = False, []
    for piece in pieces:
        for character in piece:
            inside = True if character == "“" else False if character == "”" else inside
        told.append(inside)
    return np.array(told, float)


def correlation(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Pearson's, of each column of values (T, N) with target (T,)."""
    values, target = values - values.mean(axis=0), target - target.mean()
    scale = np.sqrt((values**2).sum(axis=0) * (target**2).sum())
    return values.T @ target / np.maximum(scale, 1e-9)


def lives(trace: Trace) -> plt.Figure:
    """How long a unit keeps half of what it holds, from the mean of -log f over the text."""
    nats = -np.log(np.maximum(trace.forget, 1e-9)).mean(axis=0)  # (L, H)
    half = np.log(2) / np.maximum(nats, 1e-6)
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    edges = np.geomspace(half.min(), half.max() * 1.01, 40)
    for layer, values in enumerate(half):
        name = f"layer {layer + 1}: median {np.median(values):.1f}, longest {values.max():.0f} tokens"
        axes.hist(values, edges, histtype="stepfilled", alpha=0.55, color=[LEAF, RUST, QUIET][layer % 3], label=name)
    axes.set(xscale="log", xlabel="tokens until half of what a unit holds is gone", ylabel="units")
    axes.legend(frameon=False)
    return figure


def save(figure: plt.Figure, name: str) -> None:
    """A PNG among the figures."""
    figure.savefig(FIGURES / f"{name}.png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    print(f"docs/figures/{name}.png")


if __name__ == "__main__":
    main()
