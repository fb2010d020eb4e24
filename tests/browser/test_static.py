"""The page without a server: it writes, compares, stops, goes on, and opens without a network."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import run
from hosting import Host, npm, press
from playwright.sync_api import expect

from lstm import checkpoint, static
from lstm.config import SamplingConfig
from lstm.engine import write

pytest_plugins = ["serving", "hosting"]


@npm
@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_panel_writes_branches_and_goes_on(open_site, tiny_checkpoint, size):
    opened = checkpoint.load(tiny_checkpoint)
    straight = [event.id for event in write(opened, "The grey wolf", SamplingConfig(length=60, seed=7))]
    page = open_site(size)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if size == "phone":
        page.locator("#fold").click()
    page.locator("#prompt textarea").fill("The grey wolf")
    page.locator("#length input[type=number]").fill("30")
    assert press(page, "#generate") == straight[:30]
    assert press(page, "#proceed") == straight
    expect(page.locator("#seed input")).to_have_value("8")
    page.locator("#undo").click()
    assert press(page, "#again") != straight[:30]
    expect(page.locator("[data-part=seed]")).to_have_text("seed 8")

    page.evaluate("jungle.look(4)")
    other = page.locator(".alternative:not(.chosen)").first
    expect(other).to_be_visible()
    before = page.evaluate("jungle.story.tokens.slice(0, 4).map((token) => token.id)")
    branch = press(page, ".alternative:not(.chosen) >> nth=0")
    assert branch[:4] == before
    assert len(page.query_selector_all("[data-part=tree] button")) == 4
    expect(page.locator(".odds li .name")).to_have_count(5)

    link = page.evaluate("jungle.tools.address()")
    again = open_site(size, path=link.partition("/#")[2] and "#" + link.partition("/#")[2])
    again.wait_for_function("window.jungle.story.tokens.length && !jungle.stream")
    assert again.evaluate("jungle.story.tokens.map((token) => token.id)") == branch

    page.locator("#panel button[data-view=memory]").click()
    page.wait_for_function("jungle.memory.data")
    data = page.evaluate("jungle.memory.data")
    assert len(data["half"]) == len(data["changed"]) == len(branch)
    page.get_by_role("tab", name="Model").click()
    expect(page.locator("#model h2")).to_have_text(tiny_checkpoint.name)
    expect(page.get_by_text("From a program")).to_be_hidden()  # nobody could answer


def compared(page) -> list[list[int]]:
    """Compare, and give the ids of both texts when they are done."""
    page.locator("#compare-both").click()
    expect(page.locator("#compare-both")).to_be_enabled()
    return page.evaluate("jungleCompare.stories.map((story) => story.tokens.map((token) => token.id))")


@npm
def test_each_side_of_a_comparison_is_what_the_write_room_writes(open_site):
    page = open_site("phone")
    page.get_by_role("tab", name="Compare").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#pair-prompt textarea").fill("The old bear")
    page.locator("#pair-seed input").fill("11")
    values = {"pair-length": 60, "left-temperature": 0.6, "left-top-k": 20, "right-temperature": 1.3, "right-top-k": 0}
    for name, value in values.items():
        page.locator(f"#{name} input[type=number]").fill(str(value))
    sides = compared(page)
    assert [len(side) for side in sides] == [60, 60]
    common = next(n for n, (left, right) in enumerate(zip(*sides, strict=True)) if left != right)
    assert page.locator(".compare .common").count() == 2 * common
    assert page.locator(".compare .parting").count() == 2
    assert compared(page) == sides
    page.get_by_role("tab", name="Write").click()
    for (temperature, top_k), side in zip([(0.6, 20), (1.3, 0)], sides, strict=True):
        settings = {"prompt": "The old bear", "length": 60, "seed": 11, "temperature": temperature, "top_k": top_k}
        page.evaluate("(settings) => jungle.set({...jungle.settings, ...settings})", settings)
        assert press(page, "#generate") == side


@npm
def test_both_sides_of_a_comparison_grow_together_and_stop(open_site):
    page = open_site()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#pair-length input[type=number]").fill("2000")
    written = page.evaluate(
        """async () => {
            document.getElementById("compare-both").click();
            const written = () => jungleCompare.stories.map((story) => story.tokens.length);
            while (!written().every(Boolean)) await new Promise((resolve) => setTimeout(resolve, 10));
            document.getElementById("compare-stop").click();
            while (jungleCompare.streams.length) await new Promise((resolve) => setTimeout(resolve, 10));
            return written();
        }"""
    )
    assert all(0 < count < 2000 for count in written)
    expect(page.locator("#compare-stop")).to_be_disabled()


@npm
def test_it_opens_and_writes_with_the_server_stopped(browser, site):
    host, context = Host(site), browser.new_context()

    def text() -> str:
        page = context.new_page()
        page.goto(host.url)
        page.locator(".beginnings button").first.click()
        expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", "finished")
        expect(page.locator("[data-part=tokens]")).to_have_text("200 tokens")
        page.get_by_role("tab", name="Model").click()
        expect(page.locator("#model h2")).not_to_be_empty()
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        written = page.locator("[data-part=story]").text_content()
        page.close()
        return written

    with_server = text()
    host.stop()
    assert text() == with_server
    context.close()


@npm
def test_stop_stops_and_one_click_goes_on(open_site, tmp_path, slow_checkpoint):
    static.publish(checkpoint.load(slow_checkpoint), tmp_path / "site")
    host = Host(tmp_path / "site")
    page = open_site(of=host)
    page.evaluate("jungle.set({...jungle.settings, prompt: 'The old bear', length: 2000})")
    page.locator("#generate").click()
    page.wait_for_function("jungle.story.tokens.length")
    page.locator("#stop").click()
    panel = page.locator("#panel [data-part=panel]")
    expect(panel).to_have_attribute("data-state", "stopped")
    so_far = page.evaluate("jungle.story.written")
    assert 0 < page.evaluate("jungle.story.tokens.length") < 2000
    page.locator("[data-part=onward]").click()
    expect(panel).to_have_attribute("data-state", "writing")
    page.keyboard.press("Escape")
    expect(panel).to_have_attribute("data-state", "stopped")
    assert page.evaluate("jungle.story.written").startswith(so_far)
    host.stop()


@npm
def test_a_model_that_cannot_be_loaded_is_told(browser, site, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "model" / "model.onnx").unlink()
    host, page = Host(tmp_path / "site"), browser.new_page()
    page.goto(host.url)
    expect(page.locator("#loading")).to_contain_text("model/model.onnx cannot be loaded (404)")
    page.locator(".beginnings button").first.click()
    expect(page.locator("[data-part=notice]")).to_contain_text("reload the page")
    page.close()
    host.stop()


@npm
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, host, scheme):
    page = browser.new_page(color_scheme=scheme, bypass_csp=True)
    page.goto(host.url)
    page.wait_for_function("window.jungle?.settings")
    press(page, ".beginnings button:first-child")
    page.locator("#more > button").click()
    for room in ("Write", "Compare"):
        page.get_by_role("tab", name=room).click()
        if room == "Compare":
            compared(page)
        found = Axe().run(page).response["violations"]
        worst = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in worst] == [], room
    page.close()


@npm
def test_a_folder_in_use_is_refused(tmp_path, tiny_checkpoint):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("-m", "lstm", "publish", "static", tmp_path, "--checkpoint", tiny_checkpoint)
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path} is not empty: give another folder, or move it away\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_npm_it_says_so(tmp_path, tiny_checkpoint):
    command = ["-m", "lstm", "publish", "static", tmp_path / "site", "--checkpoint", tiny_checkpoint]
    done = run(*command, env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith("npm is not here")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
