"""A reader writes: the prompt, the sliders, the text that grows, Stop, and text that is only ever text."""

import re

import pytest
from playwright.sync_api import Page, expect

pytest_plugins = ["serving"]


def slide(page: Page, name: str, value: float) -> None:
    """Move a slider as a hand would, then its number field, where the range is too coarse for the keyboard."""
    rail = page.locator(f"#{name} input[type=range]")
    before = rail.input_value()
    rail.focus()
    page.keyboard.press("ArrowRight")
    assert rail.input_value() != before
    page.locator(f"#{name} input[type=number]").fill(str(value))
    page.locator(f"#{name} input[type=number]").press("Tab")
    expect(rail).to_have_value(str(value))


def settings(page: Page, **wanted: float) -> None:
    if page.locator("#fold").is_visible() and not page.locator("#settings").is_visible():
        page.locator("#fold").click()
    for name, value in wanted.items():
        slide(page, name.replace("_", "-"), value)


def state(page: Page, name: str) -> None:
    expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", name)


def written(page: Page) -> str:
    return page.evaluate("jungle.story.written")


def write_by_key(page: Page) -> str:
    """Press Ctrl+Enter and wait for the end of that text."""
    page.evaluate("window.previous = jungle.run")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("jungle.run !== window.previous && !jungle.stream")
    state(page, "finished")
    return written(page)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_text_grows_over_several_frames(open_page, slow_server, size):
    page = open_page(size, of=slow_server)
    page.locator("#prompt textarea").fill("The grey wolf")
    settings(page, temperature=0.7, top_k=30, length=400)
    page.evaluate(
        """() => {
            window.growth = [];
            const watch = new MutationObserver(() => window.growth.push(jungle.story.tokens.length));
            watch.observe(document.querySelector('[data-part=story]'), {childList: true});
        }"""
    )
    page.locator("#generate").click()
    state(page, "finished")
    growth = page.evaluate("window.growth")
    assert len(set(growth)) >= 3
    assert growth == sorted(growth)
    expect(page.locator("[data-part=tokens]")).to_have_text("400 tokens")
    expect(page.locator("[data-part=rate]")).to_have_text(re.compile(r"[\d,]+ tokens/s"))
    expect(page.locator("[data-part=first]")).to_have_text(re.compile(r"first in [\d,]+ ms"))
    expect(page.locator("[data-part=seed]")).to_have_text("seed 7")
    shown = page.locator("[data-part=story]").text_content()
    assert shown == "The grey wolf" + written(page)
    slow_server.wait_until_idle()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_stop_stops_the_server_too(open_page, slow_server, size):
    page = open_page(size, of=slow_server)
    page.locator("#prompt textarea").fill("The old bear")
    settings(page, length=2000)
    page.locator("#generate").click()
    state(page, "writing")
    page.locator("#stop").click()
    state(page, "stopped")
    slow_server.wait_until_idle()
    so_far = written(page)
    assert 0 < page.evaluate("jungle.story.tokens.length") < 2000
    page.wait_for_timeout(300)
    assert written(page) == so_far
    page.locator("[data-part=onward]").click()
    state(page, "writing")
    page.keyboard.press("Escape")
    state(page, "stopped")
    assert written(page).startswith(so_far)
    slow_server.wait_until_idle()


def test_a_closed_tab_frees_the_engine(open_page, slow_server):
    page = open_page(of=slow_server)
    settings(page, length=2000)
    page.locator("#generate").click()
    state(page, "writing")
    page.close()
    slow_server.wait_until_idle()


def test_the_same_seed_writes_the_same_text(open_page):
    page = open_page()
    page.locator("#prompt textarea").fill("A small cub")
    settings(page, length=40)
    texts = []
    for _ in range(2):
        page.locator("#seed input").fill("11")
        texts.append(write_by_key(page))
        expect(page.locator("#seed input")).to_have_value("12")
        expect(page.locator("[data-part=seed]")).to_have_text("seed 11")
    assert texts[0] == texts[1]
    page.locator("#keep-seed input").check()
    assert write_by_key(page) != texts[0]
    expect(page.locator("#seed input")).to_have_value("12")
    expect(page.locator("[data-part=seed]")).to_have_text("seed 12")


def test_reset_gives_back_what_the_page_came_with(open_page):
    page = open_page()
    first = page.evaluate("jungle.settings")
    settings(page, temperature=1.4, top_k=3, length=12)
    page.locator("#seed input").fill("99")
    page.get_by_role("button", name="More settings").click()
    page.locator("#min-p input[type=number]").fill("0.5")
    page.locator("#stop-strings textarea").fill("wolf")
    page.locator("#stop-strings textarea").blur()
    page.wait_for_function("jungle.settings.stop === 'wolf' && jungle.settings.min_p === 0.5")
    page.locator("#reset").click()
    expect(page.locator("#temperature input[type=number]")).to_have_value("0.8")
    expect(page.locator("#seed input")).to_have_value("7")
    assert page.evaluate("jungle.settings") == first


def test_an_invitation_writes_with_one_click(open_page):
    page = open_page("laptop")
    beginning = page.locator(".beginnings button").first
    words = beginning.text_content()
    beginning.click()
    state(page, "finished")
    expect(page.locator("#prompt textarea")).to_have_value(words)
    assert page.locator("[data-part=story]").text_content().startswith(words)


def test_a_refusal_says_why_and_leaves_the_text(open_page):
    page = open_page()
    settings(page, length=10)
    page.locator("#generate").click()
    state(page, "finished")
    before = written(page)
    page.locator("#prompt textarea").fill("x" * 20_001)
    page.locator("#generate").click()
    state(page, "refused")
    expect(page.locator("[data-part=notice]")).to_have_text("The prompt has 20,001 characters: shorten it to 20,000.")
    assert written(page) == before
    assert [m for m in page.mishaps if "422" not in m] == []
    page.mishaps.clear()  # Chromium reports each refused request on the console


@pytest.mark.parametrize("size", ["desktop", "laptop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_screen_in_both_lights(open_page, size, scheme):
    page = open_page(size, color_scheme=scheme)
    slack = page.evaluate("document.documentElement.scrollHeight - innerHeight")
    assert slack <= (60 if size == "phone" else 0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for name in ["prompt", "generate", "panel"]:
        box = page.locator(f"#{name}").bounding_box()
        assert box["y"] + box["height"] <= page.viewport_size["height"] + 1
    dark = "document.body.classList.contains('dark')"
    assert page.evaluate(dark) is (scheme == "dark")
    page.locator("[data-part=theme]").click()
    assert page.evaluate(dark) is (scheme == "light")
    page.reload()
    page.wait_for_function("window.jungle?.settings")
    assert page.evaluate(dark) is (scheme == "light")
