"""The page on a bad day: crowds, ghosts, lost connections, hostile requests, and its own end.

    python benchmarks/load.py --short                    # every bar, small: about two minutes
    python benchmarks/load.py --all                      # every bar at its full size: under 25 minutes
    python benchmarks/load.py load ghosts --seconds 60   # some of them; also --clients, --count, --checkpoint

Each bar is measured over loopback and printed with its limit; bars.py says how.
"""

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

from bars import BARS, BELIEVED, Size
from client import Page
from machine import describe, table

FULL = {
    "load": Size(64, 600, 0), "overload": Size(0, 0, 500), "fairness": Size(5, 0, 5), "disconnect": Size(1, 0, 500),
    "ghosts": Size(130, 0, 1000), "memory": Size(16, 0, 5000), "determinism": Size(64, 0, 1000),
    "shutdown": Size(8, 0, 20), "fuzzing": Size(1, 0, 20_000), "bodies": Size(1, 0, 3), "hostile": Size(1, 0, 100),
}  # fmt: skip
SHORT = {
    "load": Size(64, 8, 0, length=100), "overload": Size(0, 0, 500), "fairness": Size(5, 0, 2),
    "disconnect": Size(1, 0, 30), "ghosts": Size(130, 0, 130), "memory": Size(16, 0, 320),
    "determinism": Size(64, 0, 100), "shutdown": Size(8, 0, 2), "fuzzing": Size(1, 0, 1000), "bodies": Size(1, 0, 2),
    "hostile": Size(1, 0, 20),
}  # fmt: skip


def main() -> int:
    """Measure and print. Returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="*", metavar="bar", help=f"one or more of {', '.join(BARS)}")
    parser.add_argument("--all", action="store_true", help="every bar")
    parser.add_argument("--short", action="store_true", help="at its small size; every bar where none is named")
    parser.add_argument("--clients", type=int, help="readers at once, of load and determinism")
    parser.add_argument("--seconds", type=float, help="of steady load")
    parser.add_argument("--count", type=int, help="of what a bar counts")
    parser.add_argument("--checkpoint", type=Path, help="what is served")
    options = parser.parse_args()
    names = list(BARS) if options.all or (options.short and not options.bars) else options.bars
    if unknown := set(names) - set(BARS) or ({"none"} if not names else set()):
        parser.error(f"{', '.join(unknown)} is no bar: choose among {', '.join(BARS)}, or --all")
    about = describe()
    print(f"{about['processor']}, {about['cores']} cores, commit {about['commit']}, {time.strftime('%Y-%m-%d')}")
    given = {name: value for name in ("clients", "seconds", "count", "checkpoint") if (value := getattr(options, name))}
    figures = []
    for name in names:
        began = time.perf_counter()
        size = replace((SHORT if options.short else FULL)[name], **given)
        page = Page(size.checkpoint, *BELIEVED)
        figures += asyncio.run(BARS[name](size, page))
        page.stop()
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    rows = [[each.name, each.value, each.most, "ok" if each.ok else "SHORT"] for each in figures]
    print("\n" + table(["bar", "value", "at most", ""], rows))
    return int(not all(each.ok for each in figures))


if __name__ == "__main__":
    sys.exit(main())
