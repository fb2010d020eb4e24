"""How many cores so many readers need, and how long they wait: a simulation of the page as queues.

    python benchmarks/crowd.py [--readers 100 1000 10000 1000000] [--tokens-per-second 22732] [--one-stream 5896]
    python benchmarks/crowd.py --draw docs/figures/crowd.png   # waiting, by readers for each replica
    python benchmarks/crowd.py --cells 2 5 10                  # whether it matters how many replicas a cell has

Needs simpy, and matplotlib to draw. A reader thinks, asks, gets a text, thinks again; queues.py says how. More readers
than a cell are simulated as one cell, which has its own replicas and page processes, and multiplied. Printed is the
least number of replicas, then of page processes, for which 99 % of first tokens come in time and nobody is refused;
or how as many as one names do (--replicas, --pages).
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

from queues import Crowd, Result, Setting

SETTLE, MEASURE = 60.0, 120.0  # seconds of the crowd's own time
LIMIT = 0.3  # seconds within which 99 % of first tokens should come
HEADS = [
    "readers", "replicas", "page processes", "texts/s", "texts a replica", "of its peak", "pages busy", "refused",
    "first token, ms", "99 %, ms", "tokens/s of a text",
]  # fmt: skip
LEAF, RUST, INK, QUIET = "#2f6248", "#98401f", "#22271f", "#646a5e"


def curve(one: float, many: float, slots: int) -> tuple[float, float]:
    """Seconds of a step and what each text adds to it, from tokens/s of one text alone and of all slots together."""
    each = (slots / many - 1 / one) / (slots - 1)
    return 1 / one - each, each


def least(low: int, enough: Callable[[int], bool]) -> int:
    """The smallest number from `low` on that is enough, where every larger one is too."""
    step = 1
    while not enough(high := low + step - 1):
        low, step = high + 1, 2 * step
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


@cache
def simulate(setting: Setting) -> Result:
    """One crowd, from a standing start."""
    return Crowd(setting).run(SETTLE, MEASURE)


def in_time(setting: Setting) -> bool:
    """Whether nobody is refused and 99 % of the first tokens come within the limit."""
    result = simulate(setting)
    return not result.refused and result.percentile(0.99) <= LIMIT


def smallest(setting: Setting, peak: float) -> Setting:
    """The same crowd with as few replicas, and then as few page processes, as will do. peak: tokens/s of a replica."""
    random = Random(0)
    mean = [sum(draw(random) for _ in range(20_000)) / 20_000 for draw in (setting.think, setting.length)]
    texts = setting.readers / mean[0]  # a second, at most
    start = max(1, math.floor(0.8 * texts * mean[1] / peak))
    replicas = least(start, lambda n: in_time(replace(setting, replicas=n, pages=0)))
    work = setting.request + 2 * setting.frame + mean[1] * setting.event  # of a page process for a text, at least
    start, most = max(1, math.floor(texts * work)), math.ceil(4 * texts * work) + 1
    while not in_time(replace(setting, replicas=replicas, pages=most)):
        replicas += 1
    pages = least(start, lambda n: n >= most or in_time(replace(setting, replicas=replicas, pages=n)))
    return replace(setting, replicas=replicas, pages=pages)


def row(setting: Setting, times: int, peak: float) -> list[object]:
    """What a crowd found, multiplied."""
    result = simulate(setting)
    speed = sorted(result.speed)[len(result.speed) // 2]
    return [
        setting.readers * times, setting.replicas * times, setting.pages * times,
        round(result.asked / MEASURE * times), round(result.texts, 1),
        f"{result.tokens / setting.replicas / peak:.0%}", f"{result.served:.0%}",
        f"{result.refused / max(1, result.asked):.1%}", round(1000 * result.percentile(0.5), 1),
        round(1000 * result.percentile(0.99), 1), round(speed),
    ]  # fmt: skip


def sizes(setting: Setting, readers: list[int], cell: int, peak: float) -> None:
    """The table: what each size needs, or does with as many replicas and page processes as were asked for."""
    rows = []
    for count in readers:
        times = max(1, round(count / cell))
        crowd = replace(setting, readers=round(count / times))
        rows.append(row(crowd if setting.replicas else smallest(crowd, peak), times, peak))
        if times > 1:
            print(f"{count:,} readers: one cell of {round(count / times):,}, multiplied by {times}")
    print(table(HEADS, rows))


def cells(setting: Setting, replicas: list[int], peak: float) -> None:
    """The table: the same load for each replica in cells of several sizes; what a whole cell needs is scaled."""
    found, rows = smallest(setting, peak), []
    for count in replicas:
        readers, pages = (n * count / found.replicas for n in (found.readers, found.pages))
        cell = replace(found, readers=round(readers), replicas=count, pages=math.ceil(pages))
        rows.append(row(cell, 1, peak))
    print(table(HEADS, rows))


def draw(setting: Setting, path: Path) -> None:
    """Waiting for the first token by readers for each replica, with nothing before the replicas."""
    import matplotlib.pyplot as plt  # the tables do not need it

    few, many = range(250, 2000, 250), range(2000, 2801, 100)
    each = [*few, *many]
    results = [simulate(replace(setting, readers=4 * n, replicas=4, pages=0)) for n in each]
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 11, "axes.edgecolor": QUIET, "text.color": INK})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(figsize=(5.2, 3.9), layout="constrained")
    for share, name, colour, above in [(0.99, "99 % within", RUST, 8), (0.5, "half within", LEAF, -16)]:
        waits = [1000 * result.percentile(share) for result in results]
        axes.plot(each, waits, color=colour, linewidth=2, marker="o", markersize=4)
        axes.annotate(name, (each[0], waits[0]), (0, above), textcoords="offset points", color=colour)
    axes.axhline(1000 * LIMIT, color=QUIET, linewidth=1, linestyle="--")
    axes.annotate(f"{1000 * LIMIT:.0f} ms", (each[0], 1000 * LIMIT), (0, 4), textcoords="offset points", color=QUIET)
    if full := [n for n, result in zip(each, results, strict=True) if result.refused]:
        axes.axvspan(full[0], each[-1], color=RUST, alpha=0.12, linewidth=0)
        axes.annotate("some refused", (each[-1], 1.5), ha="right", color=RUST, size=10)
    axes.set(yscale="log", ylim=(1, 3000), xlabel="readers for each replica", ylabel="first token, ms")
    axes.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.savefig(path, dpi=150, metadata={"Software": None})
    print(path)


def table(heads: list[str], rows: list[list[object]]) -> str:
    """Rows as Markdown."""
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(f'{c:,}' if isinstance(c, int | float) else c for c in line)} |" for line in cells)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, nargs="*", default=[100, 1000, 10_000, 1_000_000])
    parser.add_argument("--cell", type=int, default=10_000, help="readers that are simulated at most")
    parser.add_argument("--cells", type=int, nargs="*", help="compare cells of so many replicas at the same load")
    parser.add_argument("--tokens-per-second", type=float, default=22_732, help="of a replica, all slots in use")
    parser.add_argument("--one-stream", type=float, default=5896, help="tokens a second of a text alone")
    for name, told in [
        ("slots", "texts that a replica writes at a time"), ("line", "texts that may wait for one"),
        ("prompt", "tokens of a prompt"), ("request", "seconds of a page process for a question"),
        ("frame", "for a frame"), ("event", "for a token"), ("hop", "seconds to a replica and back"),
        ("seed", "of chance"),
    ]:  # fmt: skip
        default = getattr(Setting, name)
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{told} ({default:g})")
    parser.add_argument("--replicas", type=int, default=0, help="of a cell, with --pages; the least that do if 0")
    parser.add_argument("--pages", type=int, default=0, help="page processes of a cell, 0 for none")
    parser.add_argument("--draw", type=Path, help="draw the waiting into this file instead")
    options = parser.parse_args()
    peak, slots = options.tokens_per_second, options.slots
    base, each = curve(options.one_stream, peak, slots)
    named = ("replicas", "pages", "slots", "line", "prompt", "request", "frame", "event", "hop", "seed")
    setting = Setting(readers=1, base=base, each=each, **{name: getattr(options, name) for name in named})
    print(f"a step takes {1e6 * base:.0f} µs and {1e6 * each:.1f} µs for each text; seed {options.seed}")
    began = time.perf_counter()
    if options.draw:
        draw(setting, options.draw)
    elif options.cells:
        cells(replace(setting, readers=options.cell), options.cells, peak)
    else:
        sizes(setting, options.readers, options.cell, peak)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
