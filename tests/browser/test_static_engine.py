"""The engine that writes in the browser: its pieces, draws, logits, refusals and texts are the server's."""

import random

import numpy as np
import pytest
from conftest import SHIPPED
from hosting import Host, npm

from lstm import checkpoint, sampling, static
from lstm.config import SamplingConfig
from lstm.engine import write
from lstm.runtime import Runtime, open_runtime
from lstm.web import guard

pytest_plugins = ["serving", "hosting"]
LIKELIEST = {"temperature": 0, "top_k": 0, "length": 200}


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
