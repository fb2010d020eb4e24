"""Memory, and the page about the model."""

import json
import math
import re

import pytest
from conftest import SHIPPED
from playwright.sync_api import expect

pytest_plugins = ["serving"]


def write(page, length=40) -> None:
    page.locator("#prompt textarea").fill("The grey wolf")
    if page.locator("#fold").is_visible():
        page.locator("#fold").click()
    page.locator("#length input[type=number]").fill(str(length))
    page.locator("#length input[type=number]").press("Tab")
    page.locator("#generate").click()
    expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", "finished")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_memory_draws_the_cells_of_the_text_on_the_screen(open_page, size):
    page = open_page(size)
    write(page)
    page.get_by_role("button", name="Memory").click()
    page.wait_for_function("jungle.memory.data")
    assert page.evaluate("document.querySelector('[data-part=canvas]').width") == 40
    for kind in ["input", "output", "cell", "hidden", "forget"]:
        page.locator("[data-part=kinds]").get_by_role("button", name=kind, exact=True).click()
        drawn = "document.querySelector('[data-part=canvas]').toDataURL()"
        assert len(page.evaluate(drawn)) > 200
    page.locator('.token[data-n="12"]').click()
    expect(page.locator("[data-part=memory] .words")).to_contain_text(re.compile(r"kept \d+ %, let in \d+ %"))
    units = page.locator("[data-part=memory] .units button")
    expect(units).to_have_count(3)
    drawings = []
    for n in range(3):
        units.nth(n).click()
        drawings.append(page.locator("[data-part=memory] svg").get_attribute("aria-label"))
        cell = {name: float(value.replace("−", "-")) for name, value in re.findall(r"(\S+) (−?[\d.]+)", drawings[-1])}
        assert cell["c"] == pytest.approx(cell["f"] * cell["c′"] + cell["i"] * cell["g"], abs=0.03)
        assert cell["h"] == pytest.approx(cell["o"] * math.tanh(cell["c"]), abs=0.02)
    assert len(set(drawings)) == 3
    page.locator("[data-part=canvas]").click(position={"x": 2, "y": 20})
    assert page.evaluate("jungle.inspector.n") == 0


def test_memory_follows_the_text(open_page):
    page = open_page()
    write(page)
    page.evaluate("jungle.pin(3)")
    page.get_by_role("button", name="Memory").click()
    page.wait_for_function("jungle.memory.data")
    expect(page.locator("[data-part=memory] .words")).to_contain_text("kept")  # of the token that is held
    page.locator("#proceed").click()
    page.wait_for_function("jungle.story.tokens.length === 80 && jungle.memory.data?.means.length === 80")


def test_the_model_page_tells_its_scores(open_page, tiny_checkpoint):
    page = open_page()
    page.get_by_role("tab", name="Model").click()
    expect(page.locator(".model h2")).to_have_text(tiny_checkpoint.name)
    expect(page.locator(".model [data-part=scores]")).to_contain_text("valid")
    expect(page.locator(".model [data-part=lead]")).to_contain_text("parameters")
    expect(page.locator(".model [data-part=corpus]")).to_contain_text("train")
    page.get_by_role("tab", name="Write").click()
    expect(page.locator("#generate")).to_be_visible()


def test_the_model_page_sets_the_shipped_model_among_others(browser, start_server):
    own = start_server(SHIPPED)
    page = browser.new_page()
    try:
        page.goto(own.url)
        page.get_by_role("tab", name="Model").click()
        scores = json.loads((SHIPPED / "metrics.json").read_text())["scores"]
        ours = page.locator(".model [data-part=peers] li.ours b")
        expect(ours.last).to_have_text(f"{scores['test']['bits_per_byte']:.3f}")
        assert len(page.locator(".model [data-part=peers] li").all()) > 9
    finally:
        page.close()
        own.end()


def test_the_model_page_shows_how_programs_may_call(open_page):
    page = open_page()
    page.get_by_role("tab", name="Model").click()
    page.locator(".model [data-part=api]").click()
    expect(page.get_by_text("3 API endpoints")).to_be_visible()
    for name in ("/generate", "/score", "/next"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.close()  # what it still asks for comes to nothing
    assert [m for m in page.mishaps if "Failed to load resource" not in m] == []
    page.mishaps.clear()  # Gradio's page asks for monitoring and MCP too, which are closed here


def enter_compare(page) -> None:
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function("window.jungleCompare")  # its script may come after its controls on a busy machine


def test_compare_shows_where_two_settings_part(open_page, server):
    page = open_page()
    enter_compare(page)
    page.locator("#shared textarea").fill("The old bear")
    page.locator("#sides input[type=number]").nth(0).fill("0")
    page.locator("#sides input[type=number]").nth(0).press("Tab")
    page.locator("#compare-both").click()
    expect(page.locator("[data-part=compare]")).to_have_attribute("data-state", "finished")
    left, right = page.evaluate("jungleCompare.stories.map((story) => story.tokens.map((token) => token.id))")
    assert len(left) == len(right) == 120
    common = next((n for n, (a, b) in enumerate(zip(left, right, strict=True)) if a != b), 120)
    assert page.locator(".compare .common").count() == 2 * common
    assert page.locator(".compare .parting").count() == (2 if common < 120 else 0)
    verdict = f"The same for {common} token" if common else "They part at the first token"
    expect(page.locator("[data-part=verdict]")).to_contain_text(verdict)
    server.wait_until_idle()


def test_compare_with_equal_settings_never_parts(open_page):
    page = open_page("laptop")
    enter_compare(page)
    for n in (0, 2):
        page.locator("#sides input[type=number]").nth(n).fill("0.7")
        page.locator("#sides input[type=number]").nth(n).press("Tab")
    page.locator("#compare-both").click()
    expect(page.locator("[data-part=verdict]")).to_have_text("The same for 120 tokens.")


def test_both_sides_of_a_comparison_stop(open_page, slow_server):
    page = open_page("phone", of=slow_server)
    enter_compare(page)
    page.locator("#shared input[type=number]").first.fill("2000")
    page.locator("#shared input[type=number]").first.press("Tab")
    page.evaluate(
        """async () => {
            document.getElementById("compare-both").click();
            const begun = () => jungleCompare.stories?.every((story) => story.tokens.length);
            while (!begun()) await new Promise((resolve) => setTimeout(resolve, 10));
            document.getElementById("compare-stop").click(); // from here: at once on a busy machine too
        }"""
    )
    expect(page.locator("[data-part=compare]")).to_have_attribute("data-state", "finished")
    slow_server.wait_until_idle()
