"""How fast the page without a server is in a real browser, and which arithmetic is the fastest there.

    python benchmarks/static.py [--checkpoint checkpoints/jungle-book] [--tokens 500]

Needs what the tests need: Chromium and requirements-dev.txt, and npm. One thread. Seconds are of the clock, and of the
processor as the browser counts them: what a core that does nothing else would need.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import ROOT, describe, table
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT))
from hosting import Host
from serving import CHROMIUM, QUIET

from lstm import checkpoint, static
from lstm.export import build

OPEN = """async ([path, shape]) => {
    const { Runtime } = await import(new URL("engine/runtime.js", document.baseURI));
    window.sampling = await import(new URL("engine/sampling.js", document.baseURI));
    const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
    const [graph, wasm] = [await bytes(path), await bytes("engine/ort-wasm-simd-threaded.wasm")];
    const began = performance.now();
    window.runtime = await Runtime.open(graph, wasm, shape);
    return (performance.now() - began) / 1000;
}"""
STEPS = """async ([sampled, count]) => {
    const settings = { temperature: 0.8, top_k: 40, top_p: 1, min_p: 0, repetition_penalty: 1 };
    let [id, state] = [2, runtime.initial()];
    for (let n = 0; n < count; n += 1) {
        const step = await runtime.step(id, state);
        state = step.state;
        if (sampled) ({ id } = sampling.choose(step.logits, settings, 0.5, []));
    }
}"""


def timed(browser: Browser, work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that the clock and all pages' processors count while something is done."""
    session = browser.new_browser_cdp_session()
    used = lambda: {p["id"]: p["cpuTime"] for p in session.send("SystemInfo.getProcessInfo")["processInfo"]}
    before, began = used(), time.perf_counter()
    work()
    clock, after = time.perf_counter() - began, used()
    session.detach()
    return clock, max(after[process] - before.get(process, 0) for process in after)


def arithmetic(browser: Browser, url: str, path: str, shape: dict) -> list[int]:
    """Milliseconds until a graph is open; steps a second of processor time, without and with sampling."""
    page = browser.new_page()
    page.goto(f"{url}blank.html")
    opened = page.evaluate(OPEN, [path, shape])
    rates = []
    for sampled in (False, True):
        page.evaluate(STEPS, [sampled, 50])
        _, processor = timed(browser, lambda sampled=sampled: page.evaluate(STEPS, [sampled, 500]))
        rates.append(round(500 / processor))
    page.close()
    return [round(1000 * opened), *rates]


def opening(browser: Browser, url: str, tokens: int) -> list[float]:
    """Seconds from first opening the page to its first token; tokens a second of a long text, clock and processor."""
    context = browser.new_context(bypass_csp=True)  # waiting for a function is evaluating a string
    page = context.new_page()

    def first() -> None:
        page.goto(url)
        page.locator(".beginnings button").first.click()
        page.wait_for_function("window.jungle.run.first > 0", polling=10)

    def text() -> None:
        page.evaluate("(length) => jungle.set({...jungle.settings, length})", tokens)
        page.locator("#generate").click()
        written = "(tokens) => !jungle.stream && jungle.run.count === tokens"
        page.wait_for_function(written, arg=tokens, timeout=300_000)

    opened = timed(browser, first)
    page.wait_for_function("!jungle.stream")
    wrote = timed(browser, text)
    context.close()
    return [*(round(seconds, 2) for seconds in opened), *(round(tokens / seconds) for seconds in wrote)]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "jungle-book")
    parser.add_argument("--tokens", type=int, default=500)
    words = parser.parse_args()
    opened = checkpoint.load(words.checkpoint)
    whole = build(opened.weights(), opened.config, quantise=False)
    stored = opened.files()["model.onnx"]
    graphs = {"8 bits": stored, "8 bits, the server's bits": static.fused(stored), "float32": whole}
    print(f"{describe()}, {opened.config}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder) / "site"
        static.publish(opened, site)
        (site / "blank.html").write_text("<!doctype html>")
        for n, graph in enumerate(graphs.values()):
            (site / f"{n}.onnx").write_bytes(graph)
        host = Host(site)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        shape = opened.config.model_dump()
        rows = [
            [name, len(graph), *arithmetic(browser, host.url, f"{n}.onnx", shape)]
            for n, (name, graph) in enumerate(graphs.items())
        ]
        heads = ["arithmetic", "bytes", "opened after, ms", "steps/s of processor", "tokens/s of processor"]
        print(table(heads, rows), "\n")
        rows = [[n + 1, *opening(browser, host.url, words.tokens)] for n in range(3)]
        print(table(["visit", "first token after, s", "of processor, s", "tokens/s", "tokens/s of processor"], rows))
        browser.close()
        host.stop()


if __name__ == "__main__":
    main()
