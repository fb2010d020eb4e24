"""Every token is a door: surprise, alternatives, branches, variants, files and links."""

import json
import math

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from lstm import checkpoint, sampling
from lstm.config import SamplingConfig
from lstm.engine import Moment, write
from lstm.runtime import State

pytest_plugins = ["serving"]


def generate(page: Page, prompt: str = "The grey wolf", length: int = 40, button: str = "generate") -> list[int]:
    """Write a text and give its ids."""
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#length input[type=number]").fill(str(length))
    page.locator("#length input[type=number]").press("Tab")
    return press(page, f"#{button}")


def press(page: Page, selector: str) -> list[int]:
    """Press something that writes, and give the ids of the whole text when it is done."""
    page.evaluate("window.previous = jungle.run")
    page.locator(selector).click()
    page.wait_for_function("jungle.run !== window.previous && !jungle.stream")
    return ids(page)


def ids(page: Page) -> list[int]:
    return page.evaluate("jungle.story.tokens.map((token) => token.id)")


@pytest.fixture(scope="module")
def straight(tiny_checkpoint):
    """straight(prompt, length, seed): the ids that the engine writes in one go."""
    opened = checkpoint.load(tiny_checkpoint)

    def ids_of(prompt: str, length: int, seed: int) -> list[int]:
        return [event.id for event in write(opened, prompt, SamplingConfig(length=length, seed=seed))]

    return ids_of


def test_continue_becomes_what_a_longer_text_would_have_been(open_page, straight):
    page = open_page()
    assert generate(page, length=30) == straight("The grey wolf", 30, 7)
    assert press(page, "#proceed") == straight("The grey wolf", 60, 7)
    page.locator("#undo").click()
    assert ids(page) == straight("The grey wolf", 30, 7)
    page.locator("#undo").click()
    assert ids(page) == []


def test_again_takes_the_next_seed_and_the_tree_walks_back(open_page, straight):
    page = open_page()
    first = generate(page)
    second = press(page, "#again")
    assert second == straight("The grey wolf", 40, 8) != first
    dots = page.locator("[data-part=tree] button")
    expect(dots).to_have_count(2)
    dots.nth(0).click()
    assert ids(page) == first
    dots.nth(0).focus()
    page.keyboard.press("ArrowDown")
    assert ids(page) == second
    expect(dots.nth(1)).to_have_attribute("aria-current", "true")


def test_a_branch_is_exact(open_page, tiny_checkpoint):
    page = open_page()
    before = generate(page)
    page.locator('.token[data-n="12"]').click()
    expect(page.locator(".alternative")).to_have_count(10)
    chosen = page.evaluate("jungle.story.tokens[12].alternatives.filter((_, n) => n % 2 == 0)")
    k = next(k for k, i in enumerate(chosen) if i != before[12])
    after = press(page, f".alternative:nth-child({k + 1})")
    assert after[:13] == [*before[:12], chosen[k]]
    assert page.evaluate("jungle.story.tokens.map((t) => t.text).join('')") == page.evaluate("jungle.story.written")

    opened = checkpoint.load(tiny_checkpoint)
    prompt = (*opened.tokenizer.encode("\n"), *opened.tokenizer.encode("The grey wolf"))
    nothing = np.zeros((opened.config.layers, opened.config.hidden_size), np.float32)
    moment = Moment((*prompt, *after[:13]), 13, 0, State(nothing, nothing))
    same = [event.id for event in write(opened, "", SamplingConfig(length=40, seed=7), moment)]
    assert after[13:] == same
    text = opened.tokenizer.decode([*prompt, *after])
    assert page.evaluate("jungle.story.text") == text.removeprefix("\n")


def test_rewind_keeps_the_old_text_at_hand(open_page, straight):
    page = open_page()
    before = generate(page)
    page.locator('.token[data-n="9"]').click()
    page.locator("[data-part=rewind]").click()
    assert ids(page) == before[:10]
    assert press(page, "#proceed") == straight("The grey wolf", 50, 7)
    page.locator("[data-part=tree] button").first.click()
    assert ids(page) == before


def test_surprise_colours_by_bits_and_says_the_scale(open_page):
    page = open_page()
    generate(page)
    expect(page.locator(".legend")).to_be_hidden()
    page.get_by_role("button", name="Surprise").click()
    expect(page.locator(".legend")).to_be_visible()
    for n in range(40):
        bits = page.evaluate(f"jungle.story.tokens[{n}].bits")
        assert f"b{min(7, math.floor(bits))}" in page.locator(f'.token[data-n="{n}"]').get_attribute("class").split()


def test_the_keyboard_walks_the_tokens(open_page):
    page = open_page()
    generate(page, length=10)
    page.locator("[data-part=page]").focus()
    for n in range(3):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("jungle.inspector.n") == n
    page.keyboard.press("ArrowLeft")
    token = page.evaluate("jungle.story.tokens[1]")
    expect(page.locator("[data-part=cost]")).to_contain_text(f"{token['bits']:.1f} bits")
    expect(page.locator("[data-part=cost]")).to_contain_text(f"rank {token['rank'] + 1}")


def test_the_chart_shows_what_the_engine_would_draw_from(open_page, tiny_checkpoint):
    page = open_page()
    page.locator("#prompt textarea").fill("The old bear")
    page.get_by_role("button", name="Greedy").click()
    expect(page.locator("#odds [data-part=kept]")).to_contain_text("1 of ")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Wild").click()
    expect(page.locator("#odds [data-part=kept]")).to_contain_text("200 of ")
    page.get_by_role("button", name="Careful").click()
    expect(page.locator("#odds [data-part=kept]")).to_contain_text("20 of ")
    assert not [url for url in asked if "queue" in url]
    logits = np.log(np.random.default_rng(0).dirichlet(np.full(300, 0.1)) + 1e-6)
    for values in [(0.7, 40, 0.9, 0.0), (1.3, 0, 0.5, 0.02), (1.0, 5, 1.0, 0.3), (0.0, 0, 1.0, 0.0)]:
        names = dict(zip(["temperature", "top_k", "top_p", "min_p"], values, strict=True))
        hundredths = (100 * (logits - logits.max())).round()
        drawn = page.evaluate(
            """([logits, settings]) => import(new URL('jungle/odds.js', document.baseURI))
                .then(({weigh}) => weigh(logits, settings)).then(({ids, odds}) => ids.map((id, n) => [id, odds[n]]))""",
            [hundredths.tolist(), names],
        )
        kept = {int(i) for i, p in drawn if p > 0}
        row = sampling.Settings.of([SamplingConfig(**names)], 300)
        uniforms = (np.arange(2000) + 0.5) / 2000
        wanted = {
            int(sampling.choose(hundredths[None].astype(np.float32) / 100, row, np.array([u])).ids[0]) for u in uniforms
        }
        assert wanted <= kept
        assert sum(p for i, p in drawn if i in wanted) > 0.99


def test_a_file_brings_everything_back(open_page, tmp_path):
    page = open_page()
    before = generate(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    path = tmp_path / "story.json"
    saved.value.save_as(path)
    file = json.loads(path.read_text())
    assert [token["id"] for token in file["tokens"]] == before
    assert file["settings"]["seed"] == 7
    assert len(file["checkpoint"]) == 64
    other = open_page("laptop")
    other.locator("[data-part=file]").set_input_files(path)
    other.wait_for_function("jungle.story.tokens.length")
    assert ids(other) == before
    assert other.evaluate("jungle.story.text") == file["text"]
    expect(other.locator("#prompt textarea")).to_have_value("The grey wolf")
    expect(other.locator("#seed input")).to_have_value("7")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": "jungle-lstm text 1"}',
        '{"format": "jungle-lstm text 1", "tokens": [{"id": "<b>"}]}',
        "\x00",
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(open_page, tmp_path, content):
    page = open_page()
    (tmp_path / "x.json").write_text(content)
    page.locator("[data-part=file]").set_input_files(tmp_path / "x.json")
    expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", "refused")
    expect(page.locator("[data-part=notice]")).to_contain_text("open one that was saved here")


@pytest.mark.parametrize("then", ["nothing", "continue", "branch"])
def test_a_link_writes_the_same_text_for_whoever_opens_it(open_page, then):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    generate(page, prompt="The python {{x}} ünd", length=25)
    if then == "continue":
        press(page, "#proceed")
    if then == "branch":
        page.locator('.token[data-n="5"]').click()
        press(page, ".alternative:not(:disabled) >> nth=0")
    page.get_by_role("button", name="Link").click()
    expect(page.locator("[data-part=link]")).to_have_text("Copied")
    address = page.evaluate("navigator.clipboard.readText()")
    other = open_page("phone", path="#" + address.split("#", 1)[1])
    other.wait_for_function("jungle.run.ended && !jungle.stream")
    assert other.evaluate("jungle.story.text") == page.evaluate("jungle.story.text")
    assert ids(other) == ids(page)


@pytest.mark.parametrize("fragment", ["#x", "#%7B%7D", "#%E0%A4", "#%7B%22prompt%22%3A1%7D"])
def test_a_broken_link_says_so(open_page, fragment):
    page = open_page(path=fragment)
    expect(page.locator("[data-part=notice]")).to_contain_text("This link is not whole")
