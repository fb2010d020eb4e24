"""Two hundred texts that would be more than text; and the page under a crowd, under a stopwatch, by keyboard."""

import json
import random
import socket

import httpx
import pytest
from playwright.sync_api import expect

pytest_plugins = ["serving"]
SEEDS = [
    "<img src=x onerror=window.hurt=1>", "<script>window.hurt=1</script>", "<svg/onload=window.hurt=1>",
    "</textarea><b>", "${Object.assign(window,{hurt:1})}", "{{#each this}}{{constructor}}{{/each}}",
    "{{window.hurt=1}}", "#{hurt}", "<%= hurt %>", "javascript:window.hurt=1",
    "'\"><iframe src=//example.invalid>", "&lt;b&gt;&#60;i&#62;", "\\u003cscript\\u003e", "\\",
    "\x00\x01\x02\x1b[2J\x7f\x85", "\u202e\u202d\u202a\u2066\u2067\u2069", "\u200b\u200d\ufeff\u2028\u2029",
    "\ufffe\uffff", "W" * 900, "\u0301" * 60, "a" + "\u0489" * 80, "\t\t   \n\n\n\n", "日本語العربيةעברית🐺👨‍👩‍👧",
    "@import url(//example.invalid)", "]]>", "--><!--", "%00%0d%0a", "__proto__", "constructor", "$$$$",
]  # fmt: skip


def hostile(count: int) -> list[str]:
    """Mixtures of the above, the same each time."""
    draw = random.Random(0)
    return [*SEEDS, *("".join(draw.sample(SEEDS, draw.randint(2, 4))) for _ in range(count - len(SEEDS)))]


def unharmed(page) -> None:
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("({}).id") is None
    assert page.locator("[data-part=story] :not(span)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("#generate").bounding_box()["x"] < 400


def test_two_hundred_hostile_prompts(open_page):
    page = open_page()
    for n, prompt in enumerate(hostile(200)):
        page.evaluate(
            """async ([prompt]) => {
                jungle.set({...jungle.settings, prompt, length: 2});
                jungle.generate(jungle.settings);
                while (jungle.stream) await new Promise((resolve) => setTimeout(resolve, 10));
            }""",
            [prompt],
        )
        assert page.evaluate("document.body.dataset.panel") == "finished", prompt
        assert page.evaluate("jungle.story.prompt") == prompt
        if n % 20 == 0:
            unharmed(page)
    unharmed(page)


def test_two_hundred_hostile_tokens_from_a_file(open_page, tmp_path):
    page = open_page("laptop")
    texts = [text[:400] for text in hostile(200)]
    tokens = [
        {"id": n, "text": text, "bits": 1.5, "entropy": 2.0, "rank": 0, "alternatives": [n, 0.5]}
        for n, text in enumerate(texts)
    ]
    settings = {"prompt": texts[0], "temperature": 1, "top_k": 0, "length": 9, "seed": 1, "top_p": 1, "min_p": 0}
    file = {"format": "jungle-lstm text 1", "tokens": tokens, "settings": {**settings, "repetition_penalty": 1}}
    (tmp_path / "x.json").write_text(json.dumps(file))
    page.locator("[data-part=file]").set_input_files(tmp_path / "x.json")
    page.wait_for_function("jungle.story.tokens.length === 200")
    assert page.evaluate("jungle.story.tokens.map((token) => token.text)") == texts
    expect(page.locator("[data-part=notice]")).to_contain_text("Another model wrote this text")
    expect(page.locator("#proceed")).to_be_disabled()
    for n in range(0, 200, 9):
        page.evaluate(f"jungle.pin({n})")
    unharmed(page)


@pytest.mark.parametrize("length", [0, 10, 200])
def test_hostile_files_are_refused_or_read(open_page, tmp_path, length):
    page = open_page()
    draw = random.Random(length)
    whole = json.dumps(
        {"format": "jungle-lstm text 1", "settings": {}, "tokens": [{"id": 1, "text": "\ud800", "bits": 1}]}
    )
    for n in range(20):
        broken = "".join(
            draw.choice([c, "", '"', "}", "\\", "9" * 400, "[" * 9]) if draw.random() < 0.05 else c for c in whole
        )
        (tmp_path / f"{n}.json").write_text(broken, errors="surrogatepass")
        page.locator("[data-part=file]").set_input_files(tmp_path / f"{n}.json")
        expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", "refused")
        page.evaluate("jungle.show('empty')")
    unharmed(page)


def test_a_crowd_makes_the_reader_wait_in_line_and_says_so(open_page, tiny_checkpoint, start_server):
    crowded = start_server(tiny_checkpoint, 0, "--streams", "100")
    page = open_page(of=crowded)
    listeners = []
    with httpx.Client(base_url=f"{crowded.url}gradio_api/call/write", timeout=60) as client:
        for _ in range(72):
            joined = client.post("", json={"data": ["Crowd", 1, 0, 1500, 1, 1, 0, 1, "", [], -1, ""]})
            listeners.append(socket.create_connection(("127.0.0.1", crowded.port)))
            path = f"/gradio_api/call/write/{joined.json()['event_id']}"
            listeners[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    page.locator("#prompt textarea").fill("The grey wolf")
    page.locator("#generate").click()
    expect(page.locator("[data-part=notice]")).to_contain_text("Waiting for a place: ")
    expect(page.locator("#panel [data-part=panel]")).to_have_attribute("data-state", "finished", timeout=120_000)
    crowded.wait_until_idle(120)
    for listener in listeners:
        listener.close()
    crowded.end()


def test_by_keyboard_alone(open_page):
    page = open_page()
    page.locator("#prompt textarea").focus()
    page.keyboard.type("The python")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("jungle.run.ended && !jungle.stream")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.part") == "page":
            break
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('.alternative').length === 10")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "alternative":
            break
    page.keyboard.press("Enter")
    page.wait_for_function("jungle.tree.branches.length === 2 && jungle.run.ended && !jungle.stream")
    assert page.evaluate("jungle.tree.current.at") == 4
