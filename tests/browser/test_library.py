"""Several checkpoints in one folder: each opened when it is asked for, none in another's way."""

import shutil

import pytest
from playwright.sync_api import expect

pytest_plugins = ["serving"]


@pytest.fixture(scope="module")
def shelf_of_two(tmp_path_factory, tiny_checkpoint, start_server):
    """A page whose folder holds two checkpoints and a broken one."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("first", "second", "torn"):
        shutil.copytree(tiny_checkpoint, folder / name)
    (folder / "torn" / "model.safetensors").write_bytes(b"torn")
    server = start_server(folder / "first")
    yield server
    server.end()


@pytest.fixture
def page(browser, shelf_of_two):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(shelf_of_two.url)
    page.wait_for_function("window.jungle?.settings")
    yield page
    page.close()


def test_another_model_is_opened_while_others_write(page, browser, shelf_of_two):
    other = browser.new_page()
    other.goto(shelf_of_two.url)
    other.wait_for_function("window.jungle?.settings")
    other.evaluate("jungle.set({...jungle.settings, length: 2000})")
    other.locator("#generate").click()
    other.wait_for_function("jungle.story.tokens.length")

    page.get_by_role("tab", name="Model").click()
    expect(page.locator(".models button")).to_have_text(["first", "second", "torn"])
    page.locator(".models").get_by_role("button", name="second").click()
    expect(page.locator(".header .facts")).to_contain_text("second")
    expect(page.locator(".model h2")).to_have_text("second")
    page.get_by_role("tab", name="Write").click()
    page.locator("#prompt textarea").fill("The kite")
    page.locator("#generate").click()
    page.wait_for_function("jungle.run.ended && !jungle.stream")
    page.locator("[data-part=views] [data-view=memory]").click()
    page.wait_for_function("jungle.memory.data")
    expect(page.locator("#odds [data-part=kept]")).to_contain_text("kept")

    other.wait_for_function("jungle.run.ended === 'length'")
    assert other.evaluate("jungle.story.tokens.length") == 2000
    other.close()


def test_a_broken_neighbour_is_refused_and_the_page_goes_on(page):
    page.get_by_role("tab", name="Model").click()
    page.locator(".models").get_by_role("button", name="torn").click()
    expect(page.locator(".model [data-part=trouble]")).to_contain_text("torn")
    page.get_by_role("tab", name="Write").click()
    page.locator("#generate").click()
    page.wait_for_function("jungle.run.ended && !jungle.stream")


def test_two_models_stand_side_by_side(page):
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_label("Model, left")).to_have_value("first")
    for n in (0, 2):
        page.locator("#sides input[type=number]").nth(n).fill("0.9")
        page.locator("#sides input[type=number]").nth(n).press("Tab")
    page.get_by_label("Model, right").click()
    page.get_by_role("option", name="second").click()
    page.locator("#compare-both").click()
    expect(page.locator("[data-part=verdict]")).to_have_text("The same for 120 tokens.")
