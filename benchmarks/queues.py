"""Readers, page processes and replicas as queues: who waits for whom, and for how long. Needs simpy.

Times are in seconds, lengths in tokens. A replica writes B texts together, and a step of all of them takes base +
each * B seconds: a text slows its neighbours, and many texts together are cheaper than one after another.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import simpy

PERIOD = 0.05  # seconds between two frames of a text, as in lstm/web/frames.py
BUNDLE = 64  # tokens of a text that a page process is charged for at a time
ROUNDING = 1e-6  # tokens

Draw = Callable[[Random], float]


def think(random: Random) -> float:
    """Seconds between the end of a text and the next question: lognormal, mean 30, median 18."""
    return 30 * random.lognormvariate(-0.5, 1.0)


def length(random: Random) -> float:
    """Tokens of a text: the page's 200 for seven in ten, else 50 to 2,000, each octave as likely. The mean is 299."""
    return 200 if random.random() < 0.7 else 50 * 40 ** random.random()


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    readers: int
    replicas: int
    base: float  # seconds of a step, however few texts are in it
    each: float  # seconds that a text adds to it
    pages: int = 0  # page processes; 0 if nothing stands before the replicas
    slots: int = 64  # texts that a replica writes at a time
    line: int = 64  # texts that may wait for one of these
    prompt: int = 8  # tokens that are read before a text begins
    request: float = 0.0135  # of a page process, for a question
    frame: float = 0.001  # of a page process, for a frame
    event: float = 0.000018  # of a page process, for a token
    hop: float = 0.005  # to a replica and back
    again: float = 30.0  # after which a reader who was refused comes back
    think: Draw = think
    length: Draw = length
    seed: int = 0


@dataclass
class Result:
    """What happened once things had settled."""

    first: list[float] = field(default_factory=list)  # seconds from the question that was taken to the first token
    speed: list[float] = field(default_factory=list)  # tokens a second of a text, from its first to its last
    asked: int = 0
    refused: int = 0
    texts: float = 0.0  # texts that a replica holds a slot for, the mean over time
    tokens: float = 0.0  # tokens a second of all replicas
    written: float = 0.0  # share of the time in which a replica writes
    served: float = 0.0  # share of the time in which a page process works

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the first tokens came."""
        ordered = sorted(self.first) or [0.0]
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


class Page:
    """A page process: one thing after another, in the order in which they come."""

    def __init__(self, env: simpy.Environment):
        self._env, self._free = env, 0.0
        self.busy = 0.0  # seconds, all in all

    def work(self, seconds: float) -> float:
        """Do something that takes so long. Returns after how many seconds it is done."""
        self._free = max(self._free, self._env.now) + seconds
        self.busy += seconds
        return self._free - self._env.now


class Text:
    """One text on its way: each mark it reaches is a bundle of tokens for the page process."""

    def __init__(self, setting: Setting, env: simpy.Environment, page: Page | None, length: float):
        self.setting, self.page, self.length = setting, page, length
        self.asked = self.told = env.now  # told: when the page process last heard of it
        self.seen: float | None = None  # when the first token was on its way to the reader
        self.written, self.ended = 0.0, env.event()

    def next_mark(self) -> float:
        """Tokens after which it is looked at again: the first one, every bundle, the last one."""
        return min(self.length, self.written + BUNDLE if self.seen is not None else 1.0)

    def reach(self, mark: float, now: float) -> None:
        """So many tokens are written."""
        tokens, self.written = mark - self.written, mark
        first, last = self.seen is None, mark >= self.length
        frames = first + last + (now - self.told) / PERIOD * (not first)
        delay = self.page.work(frames * self.setting.frame + tokens * self.setting.event) if self.page else 0.0
        self.told = now
        if first:
            self.seen = now + delay
        if last:
            self.ended.succeed(delay)


class Replica:
    """An engine on a core of its own: slots, and a bounded line of those who wait for one."""

    def __init__(self, setting: Setting, env: simpy.Environment, random: Random):
        self._setting, self._env, self._random = setting, env, random
        self._steps = 0.0  # that were made, in fractions
        self._since = self._reading = 0.0  # when that was so; until when only prompts are read
        self._marks: list[tuple[float, int, float, Text]] = []  # at which step which text is looked at
        self._numbers, self._version = itertools.count(), 0
        self._line: deque[Text] = deque()
        self.running = 0
        self.busy = self.held = self.tokens = 0.0  # seconds; texts times seconds; all in all

    @property
    def load(self) -> int:
        """Texts that are written or wait."""
        return self.running + len(self._line)

    def join(self, text: Text) -> bool:
        """Take a text, unless the line is full."""
        if self.load >= self._setting.slots + self._setting.line:
            return False
        self.advance()
        if self.running < self._setting.slots:
            self._start(text)
            self._wait()
        else:
            self._line.append(text)
        return True

    def advance(self) -> None:
        """Write until now."""
        now = self._env.now
        writing = max(0.0, now - max(self._since, self._reading)) if self.running else 0.0
        steps = writing / self._step()
        self._steps += steps
        self.tokens += steps * self.running
        self.held += (now - self._since) * self.running
        self.busy += (now - self._since) if self.running else 0.0
        self._since = now

    def _step(self) -> float:
        return self._setting.base + self._setting.each * self.running

    def _start(self, text: Text) -> None:
        """Read its prompt while the others wait; its first token comes with the first whole step after that."""
        prompt = self._setting.prompt * (self._setting.base + self._setting.each)
        self._reading = max(self._reading, self._env.now) + prompt
        self.running += 1
        self._place(text, self._steps + self._random.random())

    def _place(self, text: Text, began: float) -> None:
        heapq.heappush(self._marks, (began + text.next_mark(), next(self._numbers), began, text))

    def _wait(self) -> None:
        """Sleep until the next mark; a sleep that was overtaken by a change wakes to nothing."""
        self._version += 1
        if self._marks:
            steps = max(0.0, self._marks[0][0] - self._steps)
            until = max(self._reading, self._env.now) + steps * self._step()
            self._env.timeout(until - self._env.now, self._version).callbacks.append(self._woken)

    def _woken(self, sleep: simpy.Event) -> None:
        if sleep.value != self._version:
            return
        self.advance()
        while self._marks and self._marks[0][0] <= self._steps + ROUNDING:
            _, _, began, text = heapq.heappop(self._marks)
            text.reach(text.next_mark(), self._env.now)
            if not text.ended.triggered:
                self._place(text, began)
                continue
            self.running -= 1
            if self._line:
                self._start(self._line.popleft())
        self._wait()


class Crowd:
    """A closed world: so many readers, who think, ask, read, and think again."""

    def __init__(self, setting: Setting):
        self.setting, self.env, self._random = setting, simpy.Environment(), Random(setting.seed)
        self.replicas = [Replica(setting, self.env, self._random) for _ in range(setting.replicas)]
        self.pages = [Page(self.env) for _ in range(setting.pages)]
        self.result = Result()
        thoughts = [setting.think(self._random) for _ in range(20_000)]
        thoughts = self._random.choices(thoughts, thoughts, k=setting.readers)  # more are found in long ones
        for n, thought in enumerate(thoughts):
            self.env.process(self._reader(self.pages[n % setting.pages] if setting.pages else None, thought))

    def run(self, settle: float, measure: float) -> Result:
        """Let things settle, then count."""
        self.env.run(settle)
        before = self._sums()
        self.result = Result()
        self.env.run(settle + measure)
        busy, held, tokens, served = (now - then for now, then in zip(self._sums(), before, strict=True))
        of_replicas = measure * len(self.replicas)
        self.result.written, self.result.texts = busy / of_replicas, held / of_replicas
        self.result.tokens, self.result.served = tokens / measure, served / measure / max(1, len(self.pages))
        return self.result

    def _sums(self) -> tuple[float, float, float, float]:
        for replica in self.replicas:
            replica.advance()
        of_replicas = [sum(getattr(each, name) for each in self.replicas) for name in ("busy", "held", "tokens")]
        return *of_replicas, sum(page.busy for page in self.pages)

    def _route(self) -> Replica:
        """The less loaded of two that are chosen at random, as Ray Serve's router does; of equals, either."""
        two = self._random.sample(self.replicas, min(2, len(self.replicas)))
        return min(two, key=lambda replica: replica.load)

    def _reader(self, page: Page | None, thought: float) -> Iterator[simpy.Event]:
        setting = self.setting
        yield self.env.timeout(thought * self._random.random())
        while True:
            text = Text(setting, self.env, page, max(1.0, setting.length(self._random)))
            while not (yield from self._ask(text)):
                yield self.env.timeout(setting.again)
            yield self.env.timeout((yield text.ended))
            self.result.first.append(text.seen - text.asked + setting.hop)
            self.result.speed.append(text.length / max(1e-9, self.env.now - text.seen))
            yield self.env.timeout(setting.think(self._random))

    def _ask(self, text: Text) -> Iterator[simpy.Event]:
        """Through the page process to a replica. Whether it was taken."""
        text.asked = self.env.now
        self.result.asked += 1
        if text.page:
            yield self.env.timeout(text.page.work(self.setting.request))
        taken = self._route().join(text)
        self.result.refused += not taken
        text.told = self.env.now
        return taken
