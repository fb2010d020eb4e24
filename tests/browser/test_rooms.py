"""Memory, and the page about the model."""

import re

import pytest
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
    expect(page.locator("[data-part=memory] .cell")).to_have_count(3)
    page.locator("[data-part=canvas]").click(position={"x": 2, "y": 20})
    assert page.evaluate("jungle.inspector.n") == 0


def test_memory_follows_the_text(open_page):
    page = open_page()
    write(page)
    page.get_by_role("button", name="Memory").click()
    page.wait_for_function("jungle.memory.data")
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
