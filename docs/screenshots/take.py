"""Takes the page's pictures again: python docs/screenshots/take.py [CHECKPOINT], from the root of the repository."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from serving import CHROMIUM, QUIET, SIZES, Server, start  # noqa: E402

PROMPT = "Mowgli crept through the long grass"


def main() -> None:
    """Every picture of the README and of docs/."""
    server = start(Path(sys.argv[1] if len(sys.argv) > 1 else "checkpoints/jungle-book"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            pictures(browser, server)
        finally:
            browser.close()
            server.end()


def pictures(browser: Browser, server: Server) -> None:
    """One page a picture, so that each is in the state that it shows."""
    page = opened(browser, server, "desktop", "light")
    save(page, "empty-light")
    animate(page, "writing")

    for name, scheme, size in [
        ("surprise", "light", "desktop"),
        ("surprise", "dark", "laptop"),
        ("memory", "light", "desktop"),
    ]:
        page = opened(browser, server, size, scheme)
        write(page)
        page.locator(f"[data-part=views] [data-view={name}]").click()
        if name == "memory":
            page.wait_for_function("jungle.memory.data")
            page.locator("[data-part=kinds] button").nth(3).click()
        page.locator('.token[data-n="24"]').click()
        page.wait_for_timeout(500)
        save(page, f"{name}-{scheme}")

    page = opened(browser, server, "laptop", "light")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-both").click()
    page.wait_for_function("jungleCompare.state && !jungleCompare.streams.length")
    page.wait_for_timeout(1500)
    save(page, "compare-light")

    for scheme in ("light", "dark"):
        page = opened(browser, server, "phone", scheme)
        write(page)
        if scheme == "dark":
            page.locator("[data-part=views] [data-view=surprise]").click()
        save(page, f"phone-{scheme}")


def opened(browser: Browser, server: Server, size: str, scheme: str) -> Page:
    """The page in a window of its own."""
    width, height = SIZES[size]
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.goto(server.url)
    page.wait_for_function("window.jungle?.settings")
    page.wait_for_timeout(700)
    return page


def write(page: Page) -> None:
    """A text of 200 tokens with the seed that the page comes with."""
    page.evaluate("(prompt) => jungle.set({...jungle.settings, prompt})", PROMPT)
    page.wait_for_timeout(800)  # the chart of the next token rests while somebody types
    page.locator("#generate").click()
    page.wait_for_function("jungle.run.ended && !jungle.stream")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(300)


def animate(page: Page, name: str) -> None:
    """A text as it streams, in the page's own time; then its surprise, one token, and a branch."""
    page.evaluate("(prompt) => jungle.set({...jungle.settings, prompt, length: 300})", PROMPT)
    page.wait_for_timeout(800)
    shots = [page.screenshot()]
    page.locator("#generate").click()
    while page.evaluate("!jungle.run.ended || Boolean(jungle.stream)"):
        shots.append(page.screenshot())
    shots.append(page.screenshot())
    middle = min(len(shots) - 2, 1 + len(shots) // 2)
    keep(Image.open(io.BytesIO(shots[middle])), name)
    page.locator("[data-part=views] [data-view=surprise]").click()
    shots.append(page.screenshot())
    page.locator('.token[data-n="24"]').click()
    page.wait_for_timeout(300)
    shots.append(page.screenshot())
    page.locator(".alternative").nth(3).click()
    page.wait_for_function("jungle.tree.branches.length === 2 && jungle.run.ended && !jungle.stream")
    page.wait_for_timeout(100)
    shots.append(page.screenshot())
    frames = [
        Image.open(io.BytesIO(shot)).convert("RGB").resize((960, 600), Image.Resampling.LANCZOS) for shot in shots
    ]
    times = [1200, *[100] * (len(frames) - 5), 1500, 1500, 2000, 2500]
    path = HERE / f"{name}.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=70, method=6)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes, {len(frames)} frames")


def save(page: Page, name: str) -> None:
    """A picture of the page as it stands."""
    keep(Image.open(io.BytesIO(page.screenshot())), name)


def keep(picture: Image.Image, name: str) -> None:
    """A PNG with few colours: the page has few."""
    image = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    path = HERE / f"{name}.png"
    image.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
