"""How the real page serves many readers: app.py in a process of its own, raw event streams in this one.

    python benchmarks/serving.py [--clients 1 16 64] [--length 1000] [--rounds 3] [--checkpoint FOLDER]

All clients of a round ask at the same moment. In the first round each of them is new to the page, which makes a session
for it; the other figures are of the later rounds. Prints a table and, at the end, one line of JSON.
"""

import argparse
import asyncio
import json
import secrets
import time

import numpy as np
from client import Page, write
from machine import describe, table


async def ask(page: Page, session: str, **values: object) -> dict:
    """One reader: seconds to the first frame, and seconds between frames."""
    written = await write(page, session=session, **values)
    if not written.ended:
        raise SystemExit(f"the page answered {written.status} and did not finish its text")
    return {"first": written.first, "gaps": np.diff(written.times[:-1]).tolist()}


async def measure(page: Page, clients: int, length: int, rounds: int) -> dict:
    """Some rounds of so many readers at once, after one in which they are new."""
    sessions = [secrets.token_hex(6) for _ in range(clients)]

    async def all_ask(n: int) -> list[dict]:
        asking = (
            ask(page, session, prompt="The old wolf", length=length, seed=clients * n + c)
            for c, session in enumerate(sessions)
        )
        return await asyncio.gather(*asking)

    new = await all_ask(rounds)
    cpu, began = page.cpu_seconds(), time.perf_counter()
    answers = [answer for n in range(rounds) for answer in await all_ask(n)]
    span = time.perf_counter() - began
    first = [1000 * answer["first"] for answer in answers]
    gaps = [1000 * gap for answer in answers for gap in answer["gaps"]] or [0.0]
    return {
        "clients": clients,
        "new: first ms": round(float(np.median([1000 * answer["first"] for answer in new])), 1),
        "first ms": round(float(np.median(first)), 1),
        "worst": round(max(first), 1),
        "gap ms": round(float(np.median(gaps)), 1),
        "gap ms, 99 %": round(float(np.percentile(gaps, 99)), 1),
        "frames/s": round((len(gaps) + len(answers)) / span),
        "tokens/s": round(len(answers) * length / span),
        "cores": round((page.cpu_seconds() - cpu) / span, 2),
        "MB": page.megabytes(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 16, 64], help="readers at once")
    parser.add_argument("--length", type=int, default=1000, help="tokens each of them asks for")
    parser.add_argument("--rounds", type=int, default=3, help="how often they ask")
    parser.add_argument("--checkpoint", default="checkpoints/jungle-book", help="what is served")
    options = parser.parse_args()
    page = Page(options.checkpoint, "--streams", str(max(options.clients)))
    report = {**describe(), "start_seconds": round(page.start_seconds, 2), "megabytes": page.megabytes()}
    try:
        asyncio.run(measure(page, 1, 50, 3))  # what is made on first use
        report["served"] = [asyncio.run(measure(page, n, options.length, options.rounds)) for n in options.clients]
        report["megabytes_most"] = page.megabytes("VmHWM")
    finally:
        page.stop()
    print(f"{report['processor']}, {report['cores']} cores, commit {report['commit']}")
    print(f"first HTTP 200 after {report['start_seconds']} s, {report['megabytes']} MB resident\n")
    print(table(list(report["served"][0]), [list(row.values()) for row in report["served"]]), "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
