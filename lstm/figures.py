"""Pictures of training, drawn with matplotlib."""

import io
from collections.abc import Mapping, Sequence


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """A PNG of validation bits per byte over minutes, one line a run; the axis is fair to every vocabulary."""
    from matplotlib.figure import Figure  # half a second to import, only when something is drawn

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, history in histories.items():
        minutes = [row["seconds"] / 60 for row in history]
        bits = [row["valid_bits_per_byte"] for row in history]
        axes.plot(minutes, bits, marker="o", markersize=3, label=f"{name}: {min(bits):.3f}" if bits else name)
        if len(histories) == 1:
            trained = [row["train_bits_per_byte"] for row in history]
            axes.plot(minutes, trained, linestyle="--", linewidth=1, label="training text, with dropout")
    axes.set(xlabel="minutes of training", ylabel="bits per byte (less is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
