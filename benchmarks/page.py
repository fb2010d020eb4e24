"""How quick the page is in a real browser: 2,000 tokens on the screen, and what blocked the browser meanwhile.

    python benchmarks/page.py [--checkpoint checkpoints/jungle-book] [--tokens 2000]

Needs what the tests need: Chromium and requirements-dev.txt.
"""

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from serving import CHROMIUM, QUIET, start

OBSERVE = """() => {
    window.blocked = [];
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.blocked.push(entry.duration)))
        .observe({type: 'longtask'});
}"""
WRITE = """async ([view, count]) => {
    const drawn = () => view !== 'memory' || jungle.memory.data?.means.length === count;
    const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
    const before = jungle.run;
    window.blocked.length = 0;
    const began = performance.now();
    document.getElementById('generate').click();
    while (jungle.run === before || jungle.run.count !== count || jungle.stream || !drawn()) await pause();
    return performance.now() - began;
}"""


def measure(page: Page, view: str, count: int) -> tuple[float, float]:
    """Seconds from the click to the last token on the screen, and the longest blocked stretch in milliseconds."""
    choose = "([view, length]) => { jungle.view(view); jungle.set({...jungle.settings, prompt: view, length}); }"
    page.evaluate(choose, [view, count])
    page.wait_for_timeout(1000)
    took = page.evaluate(WRITE, [view, count]) / 1000
    return took, max(page.evaluate("window.blocked"), default=0)


def main() -> None:
    """Measure each view three times and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/jungle-book"))
    parser.add_argument("--tokens", type=int, default=2000)
    words = parser.parse_args()
    served = start(words.checkpoint)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(served.url)
            page.wait_for_function("window.jungle?.settings")
            page.evaluate(OBSERVE)
            print(f"{'view':10}{'seconds':>10}{'longest block, ms':>20}")
            for view in ("plain", "surprise", "memory"):
                runs = sorted(measure(page, view, words.tokens) for _ in range(3))
                print(f"{view:10}{runs[1][0]:10.2f}{max(blocked for _, blocked in runs):20.0f}", flush=True)
            browser.close()
    finally:
        served.process.terminate()
        served.process.wait()


if __name__ == "__main__":
    main()
