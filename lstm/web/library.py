"""The checkpoints of a folder: each is opened when somebody first asks for it, and other readers go on meanwhile."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from lstm import checkpoint
from lstm.checkpoint import MANIFEST, Checkpoint
from lstm.config import Refused
from lstm.engine import Engine, Stats
from lstm.remote import RemoteEngine
from lstm.web.reader import Reader
from lstm.web.shelf import Shelf

ROOM = 4  # checkpoints that are open at a time


class Opened:
    """A checkpoint at work: what writes, what was written, what reads."""

    def __init__(self, opened: Checkpoint, engine: Engine | RemoteEngine):
        self.checkpoint, self.engine = opened, engine
        self.shelf, self.reader = Shelf(opened), Reader(opened)


class Library:
    """The checkpoint that the page was started with, and its neighbours."""

    def __init__(self, first: Checkpoint, engine: Callable[[Checkpoint], Engine | RemoteEngine] = Engine):
        """engine: what writes with a checkpoint, here or elsewhere."""
        self.first, self._engine = first.path.name, engine
        self._folder, self._lock = first.path.resolve().parent, threading.Lock()
        self._opened = OrderedDict({self.first: Opened(first, engine(first))})

    def names(self) -> list[str]:
        """Of the checkpoints there are, the page's own first."""
        found = {path.parent.name for path in self._folder.glob(f"[!.]*/{MANIFEST}")} - {self.first}
        return [self.first, *sorted(found)]

    def open(self, name: str = "") -> Opened:
        """A checkpoint by its name, "" for the page's own. Raises Refused with one sentence."""
        name = name or self.first
        with self._lock:
            if name not in self._opened:
                if name not in self.names():
                    raise Refused(f"there is no checkpoint {name[:40]!r} here: choose one of {', '.join(self.names())}")
                self._make_room()
                opened = checkpoint.load(self._folder / name)
                self._opened[name] = Opened(opened, self._engine(opened))
            self._opened.move_to_end(name)
            return self._opened[name]

    @property
    def running(self) -> int:
        """Texts that are being written, by all of them."""
        return sum(opened.engine.running for opened in list(self._opened.values()))

    def stats(self) -> dict[str, Stats]:
        """The engines' figures by the names of their checkpoints."""
        return {name: opened.engine.stats() for name, opened in list(self._opened.items())}

    def close(self) -> None:
        """Stop all engines."""
        for opened in self._opened.values():
            opened.engine.close()

    def _make_room(self) -> None:
        idle = (name for name, opened in self._opened.items() if name != self.first and not opened.engine.running)
        if len(self._opened) >= ROOM:
            if not (name := next(idle, None)):
                raise Refused(f"{ROOM} checkpoints are at work: wait until a text is finished")
            self._opened.pop(name).engine.close()
