"""Checkpoints side by side: one table, one picture. Bits per byte are fair to every vocabulary."""

import time
from pathlib import Path

from lstm import checkpoint, figures, hub
from lstm.checkpoint import Checkpoint
from lstm.config import Refused, SamplingConfig
from lstm.engine import write

_HEADS = ("checkpoint", "parameters", "pieces", "corpus, bytes", "seconds", "valid", "test", "tokens/s")
_TOKENS = 200  # of one text, to measure the rate


def compare(folders: list[str], picture: Path) -> str:
    """A table of the checkpoints; their learning curves go into the picture, a PNG. Raises Refused."""
    found = {folder: checkpoint.load(hub.folder(folder)) for folder in folders}
    rows = [_HEADS, *(_row(folder, opened) for folder, opened in found.items())]
    histories = {folder: opened.metrics["history"] for folder, opened in found.items()}
    try:
        picture.write_bytes(figures.learning_curves(histories))
    except OSError as error:
        raise Refused(f"{picture} cannot be written ({error.strerror}): choose another --picture") from None
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    return "\n".join([*lines, "", "valid, test: bits per byte of each one's own texts; tokens/s: one text, now"])


def _row(folder: str, opened: Checkpoint) -> tuple[str, ...]:
    facts = opened.metrics
    scores = (facts["scores"].get(name, {}).get("bits_per_byte") for name in ("valid", "test"))
    return (
        folder,
        f"{facts['parameters']:,}",
        f"{opened.config.vocab_size:,}",
        f"{sum(document['bytes'] for document in facts['corpus']):,}",
        f"{facts['seconds']:,.0f}",
        *("-" if score is None else f"{score:.3f}" for score in scores),
        f"{_rate(opened):,.0f}",
    )


def _rate(opened: Checkpoint) -> float:
    """Tokens a second of one text, the first token left out, since it waits for the model to be loaded."""
    events = write(opened, "", SamplingConfig(length=_TOKENS))
    next(events)
    began = time.perf_counter()
    return sum(1 for _ in events) / (time.perf_counter() - began)
