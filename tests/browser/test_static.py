"""The page without a server: its pieces, draws, logits and texts are the server's, and it writes without a network."""

import random
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import SHIPPED, run
from playwright.sync_api import expect
from serving import SIZES, Mishaps

from lstm import checkpoint, sampling, static
from lstm.config import SamplingConfig
from lstm.engine import write
from lstm.runtime import Runtime, open_runtime
from lstm.web import guard

pytest_plugins = ["serving"]
npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not here: install Node.js to publish without a server")
LIKELIEST = {"temperature": 0, "top_k": 0, "length": 200}


class Files(SimpleHTTPRequestHandler):
    """Plain files, without a word."""

    def log_message(self, *_) -> None:
        pass


class Host:
    """A plain file server on loopback."""

    def __init__(self, folder):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny_checkpoint):
    """The folder that the command writes for the tiny model."""
    folder = tmp_path_factory.mktemp("static") / "site"
    done = run("-m", "lstm", "publish", "static", folder, "--checkpoint", tiny_checkpoint)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def host(site):
    host = Host(site)
    yield host
    host.stop()


@pytest.fixture
def open_site(browser, host):
    """open_site(size="desktop", path="", of=host) opens the page; at the end nothing may have gone wrong on it."""
    mishaps, contexts = Mishaps(), []

    def open_one(size: str = "desktop", path: str = "", of: Host = host):
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True))
        page = contexts[-1].new_page()
        mishaps.watch(page, of.url)
        page.goto(of.url + path)
        page.wait_for_function("window.jungle?.settings")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert mishaps.messages == []


@pytest.fixture(scope="module")
def page(browser, host):
    """One page for all tests that only ask it something."""
    page = browser.new_page(bypass_csp=True)  # waiting for a function is evaluating a string
    page.goto(host.url)
    page.wait_for_function("window.jungle?.settings")
    yield page
    page.close()


def texts(count: int) -> list[str]:
    """Texts of all kinds: words, emoji, combining marks, scripts, control characters, spaces, breaks, long words."""
    draw = random.Random(0)
    parts = [
        *"aAzé0 ß.,;:!?\"'“”—-_\t\n\n\n\0\x01\x7f\x85\u00a0\u200b\u200d\ufeff\ufffd▁▁ 　",
        *["the", " the", "Mowgli", "Bagheera ", "wolf", " of", "\n\n", "\r\n", "  ", "jungle" * 30, "x" * 200],
        *["<0x41>", "<unk>", "\n\n\n", "\U0010ffff", "\ud7ff", "\ue000"],
        *["😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "e\u0301\u0323", "กำ", "שלום", "العربية", "日本語", "한국어"],
    ]  # fmt: skip
    mixed = ["".join(draw.choices(parts, k=draw.randint(0, 30))) for _ in range(count // 2)]
    anything = [chr(c) for c in (*range(1, 0x800), *range(0x1F300, 0x1F700))]
    wild = ["".join(draw.choices(anything, k=draw.randint(0, 40))) for _ in range(count - len(mixed))]
    return [*mixed, *wild, "\U0001fae0a\n\n\n" * 4000]


TOKENIZE = """async ([pieces, texts, ids]) => {
    const { Tokenizer } = await import(new URL("engine/tokenizer.js", document.baseURI));
    const tokenizer = new Tokenizer(pieces);
    const decode = (some) => {
        const decoder = tokenizer.decoder();
        return [...some.map((id) => decoder.push(id)), decoder.flush()];
    };
    return [texts.map((text) => tokenizer.encode(text)), ids.map(decode)];
}"""


@npm
@pytest.mark.parametrize("which", ["tiny", "shipped"])
def test_a_thousand_texts_have_the_same_pieces(page, tiny_checkpoint, which):
    tokenizer = checkpoint.load(SHIPPED if which == "shipped" else tiny_checkpoint).tokenizer
    written = [tokenizer.encode(text) for text in texts(1000)]
    draw = random.Random(1)
    wild = [[draw.randrange(tokenizer.vocab_size) for _ in range(30)] for _ in range(200)]
    encoded, decoded = page.evaluate(TOKENIZE, [tokenizer.table(), texts(1000), written[:300] + wild])
    for text, found, wanted in zip(texts(1000), encoded, written, strict=True):
        assert found == wanted, repr(text)
    for ids, found in zip(written[:300], decoded, strict=False):
        decoder = tokenizer.decoder()
        assert found == [*map(decoder.push, ids), decoder.flush()]
    assert ["".join(parts) for parts in decoded[300:]] == [tokenizer.decode(ids) for ids in wild]


@npm
def test_draws_are_numpys_to_the_bit(page):
    asked = [(seed, position) for seed in (0, 7, 2**31 - 1) for position in (0, 1, 255, 256, 1999)]
    script = """async (asked) => {
        const { Uniform } = await import(new URL("engine/sampling.js", document.baseURI));
        return asked.map(([seed, position]) => new Uniform(seed).at(position));
    }"""
    found = page.evaluate(script, asked)
    assert found == [sampling.Uniform(seed).at(position) for seed, position in asked]


@npm
def test_logits_are_the_servers(page, tiny_checkpoint):
    opened = checkpoint.load(tiny_checkpoint)
    ids = opened.tokenizer.encode("\nThe grey wolf ran by the river at night. Naïve 😀\n\nAll day")
    script = """async ([ids, shape]) => {
        const { Runtime } = await import(new URL("engine/runtime.js", document.baseURI));
        const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
        const wasm = await bytes("engine/ort-wasm-simd-threaded.wasm");
        const runtime = await Runtime.open(await bytes("model/model.onnx"), wasm, shape);
        const rows = [];
        let state = runtime.initial();
        for (const id of ids) {
            const step = await runtime.step(id, state);
            state = step.state;
            rows.push([...step.logits]);
        }
        return rows;
    }"""
    found = np.array(page.evaluate(script, [ids, opened.config.model_dump()]))
    runtime, rows = open_runtime(opened), []
    state = runtime.initial_state(1)
    for i in ids:
        logits, state, _ = runtime.step(np.array([i]), state)
        rows.append(logits[0])
    assert np.abs(found - np.array(rows)).max() <= 1e-3


WRITE = """async (data) => {
    const { Stream } = await import(new URL("jungle/client.js", document.baseURI));
    let [ids, end] = [[]];
    for await (const { frame } of new Stream("write", data)) {
        if (frame?.tokens) ids.push(...frame.tokens.map(([id]) => id));
        if (frame?.ended) end = frame;
    }
    return [ids, end.text, end.ended];
}"""


def both(page, opened: checkpoint.Checkpoint, prompt: str, **values) -> tuple[list, list]:
    """What the page and what the engine writes: ids, text, why it ended."""
    settings = SamplingConfig(**values)
    events = list(write(opened, prompt, settings))
    ours = [[event.id for event in events], "".join(event.text for event in events), events[-1].ended]
    numbers = settings.model_dump(exclude={"stop"})
    names = ("temperature", "top_k", "length", "seed", "top_p", "min_p", "repetition_penalty")
    stop = "\n".join(text.replace("\n", "\\n") for text in settings.stop)
    return page.evaluate(WRITE, [prompt, *(numbers[name] for name in names), stop, [], -1, ""]), ours


BEGINNINGS = ["", "\n", "The café 😀", "Oh,", *(f"{who} {did}" for who in ("Mowgli", "The bear") for did in "abcdefgh")]


@npm
def test_twenty_greedy_texts_are_the_servers(page, tiny_checkpoint):
    opened = checkpoint.load(tiny_checkpoint)
    for prompt in BEGINNINGS:
        found, wanted = both(page, opened, prompt, **LIKELIEST)
        assert found == wanted, prompt


@npm
def test_greedy_texts_of_the_shipped_model_are_the_servers(browser, tmp_path):
    opened = checkpoint.load(SHIPPED)
    static.publish(opened, tmp_path / "site")
    host, page = Host(tmp_path / "site"), browser.new_page(bypass_csp=True)
    page.goto(host.url)
    for prompt in BEGINNINGS[:5]:
        found, wanted = both(page, opened, prompt, **LIKELIEST)
        assert found == wanted, prompt
    page.close()
    host.stop()


def test_its_graph_is_the_checkpoints_to_the_bit():
    opened = checkpoint.load(SHIPPED)
    graph = opened.files()["model.onnx"]
    ours, theirs = Runtime(graph, opened.config), Runtime(static.fused(graph), opened.config)
    states = [runtime.initial_state(1) for runtime in (ours, theirs)]
    for ids in np.random.default_rng(0).integers(0, opened.config.vocab_size, (100, 1)):
        steps = [runtime.step(ids, state) for runtime, state in zip((ours, theirs), states, strict=True)]
        assert np.array_equal(steps[0][0], steps[1][0])
        states = [state for _, state, _ in steps]


@npm
def test_seeded_texts_are_the_servers(page, tiny_checkpoint):
    opened = checkpoint.load(tiny_checkpoint)
    for values in [
        {},
        {"temperature": 1.5, "top_k": 0},
        {"temperature": 2, "top_k": 0, "top_p": 0.9},
        {"top_k": 3, "min_p": 0.1},
        {"top_p": 0.5, "min_p": 0.02, "top_k": 200},
        {"repetition_penalty": 1.4},
        {"temperature": 0, "repetition_penalty": 1.3},
        {"stop": (".", "\n\n")},
        {"stop": ("wolf sang", "the river at"), "top_k": 5},
    ]:
        found, wanted = both(page, opened, "The grey wolf", **{"seed": 2**31 - 1, "length": 300} | values)
        assert found == wanted, values


@npm
@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2.5), ("top_k", 1.5), ("length", 0), ("seed", -1), ("top_p", 2), ("prompt", "x" * 20_001)],
)
def test_refusals_are_the_servers(page, name, value):
    values = {"prompt": "A", "temperature": 1, "top_k": 0, "length": 1, "seed": 0, "top_p": 1, "min_p": 0}
    values |= {"repetition_penalty": 1, "stop": "", "after": [], "stream": -1, "model": "", name: value}
    script = f"async (data) => ({WRITE})(data).catch((error) => error.message)"
    said = page.evaluate(script, list(values.values()))
    assert said == guard.WRITE[name](value).replace("2.0,", "2,")


def press(page, selector: str) -> list[int]:
    """Press something that writes, and give the ids of the whole text when it is done."""
    page.evaluate("window.previous = jungle.run")
    page.locator(selector).click()
    page.wait_for_function("jungle.run !== window.previous && !jungle.stream")
    return page.evaluate("jungle.story.tokens.map((token) => token.id)")


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
    found = Axe().run(page).response["violations"]
    assert [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")] == []
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
