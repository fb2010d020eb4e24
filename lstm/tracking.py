"""A run's figures for TensorBoard, for those who ask for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lstm.config import Refused
from lstm.training import Moment, Run


class Tracker:
    """Writes the loss and the rate now and then, and every score, as TensorBoard events."""

    def __init__(self, writer):
        self._writer = writer

    def note(self, run: Run, moment: Moment) -> None:
        """Take down what a step or an evaluation brought."""
        if moment.score:
            self._writer.add_scalar("bits per byte/validation", moment.score.bits_per_byte, run.step)
        elif run.step % 10 == 0:
            self._writer.add_scalar("bits per byte/training", run.train_bits_per_byte, run.step)
            self._writer.add_scalar("tokens per second", moment.tokens_per_second, run.step)


@contextmanager
def track(folder: Path) -> Iterator[Tracker]:
    """Events in a folder, for 'tensorboard --logdir'. Raises Refused where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise Refused("--track needs TensorBoard: pip install tensorboard") from None
    with SummaryWriter(folder) as writer:
        yield Tracker(writer)
