"""How the real page serves many readers: app.py in a process of its own, raw event streams in this one.

    python benchmarks/serving.py [--clients 1 16 64] [--length 1000] [--rounds 3] [--checkpoint FOLDER]

All clients of a round ask at the same moment. In the first round each of them is new to the page, which makes a session
for it; the other figures are of the later rounds. Prints a table and, at the end, one line of JSON.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from machine import ROOT, describe, table

TICKS = os.sysconf("SC_CLK_TCK")


class Page:
    """A running app.py."""

    def __init__(self, checkpoint: str):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        began = time.perf_counter()
        command = [sys.executable, "app.py", "--checkpoint", checkpoint, "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while True:
            try:
                urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).read()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("app.py did not start") from None
                time.sleep(0.02)
        self.start_seconds = time.perf_counter() - began
        self.config = json.load(urlopen(f"http://127.0.0.1:{self.port}/config"))

    def cpu_seconds(self) -> float:
        """Processor time that the server has used, on all cores."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self, name: str = "VmRSS") -> float:
        """Resident memory now (VmRSS) or at its most (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return round(int(status.split(f"{name}:")[1].split()[0]) / 1024, 1)

    def request(self, session: str, **values: object) -> dict:
        """What the browser would send to write, with each control's own value where none is given by its label."""
        endpoint = next(each for each in self.config["dependencies"] if each["api_name"] == "write")
        controls = {component["id"]: component["props"] for component in self.config["components"]}
        data = [values.get(controls[n].get("label", "").lower(), controls[n].get("value")) for n in endpoint["inputs"]]
        data = ["" if value is None else value for value in data]
        return {"data": data, "fn_index": endpoint["id"], "session_hash": session}


async def ask(page: Page, session: str, **values: object) -> dict:
    """One reader: seconds to the first frame, and seconds between frames."""
    body = json.dumps(page.request(session, **values)).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
    host = f"Host: 127.0.0.1:{page.port}\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(f"POST /gradio_api/queue/join HTTP/1.1\r\n{host}{kind}".encode() + body)
    answer = await reader.readline()
    if b" 200 " not in answer:
        raise SystemExit(f"the page answered {answer.decode().strip()}")
    reader.feed_eof()
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", page.port, limit=2**24)
    writer.write(f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1\r\n{host}\r\n".encode())
    times = []
    async for line in reader:
        if line.startswith(b"data:"):
            if b'"process_generating"' in line[:80]:
                times.append(time.perf_counter())
            elif b'"process_completed"' in line[:80]:
                if b'"success":true' not in line:
                    raise SystemExit(f"the page failed: {line[:400].decode()}")
                break
    writer.close()
    return {"first": times[0] - began, "gaps": np.diff(times[:-1]).tolist()}


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
    page = Page(options.checkpoint)
    report = {**describe(), "start_seconds": round(page.start_seconds, 2), "megabytes": page.megabytes()}
    try:
        asyncio.run(measure(page, 1, 50, 3))  # what is made on first use
        report["served"] = [asyncio.run(measure(page, n, options.length, options.rounds)) for n in options.clients]
        report["megabytes_most"] = page.megabytes("VmHWM")
    finally:
        page.process.terminate()
        page.process.wait()
    print(f"{report['processor']}, {report['cores']} cores, commit {report['commit']}")
    print(f"first HTTP 200 after {report['start_seconds']} s, {report['megabytes']} MB resident\n")
    print(table(list(report["served"][0]), [list(row.values()) for row in report["served"]]), "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
