"""Hostile requests: nonsense in every field, bodies without end, scripts, and probes of what is closed."""

import contextlib
import http.client
import itertools
import json
import re
import sys
import time
from dataclasses import dataclass, field

from client import Page, fetch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import ROOT

JOIN, CALL, CANCEL, DATA = (f"/gradio_api/{path}" for path in ("queue/join", "call/write", "cancel", "queue/data"))
GOOD = ["The old wolf", 0.8, 40, 5, 7, 1, 0, 1, "", [], -1, ""]
LEAKS = re.compile(rb"root:[^:]*:0:0|BEGIN [A-Z ]*PRIVATE KEY|\[tool\.ruff|\"\"\"Serves the page")

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(2**63), 1e308, -0.0, True, None]))
texts = st.one_of(
    st.text(max_size=40), st.sampled_from(["\ud800", "\x00", "x" * 21_000, "../../etc/passwd", "${1}", ""])
)
values = st.recursive(
    st.one_of(numbers, texts), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


@st.composite
def calls(draw: st.DrawFn) -> dict:
    """A good call, with something else in some of its places."""
    data = list(GOOD)
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
        data[place] = draw(values)
    body = {"data": data, "fn_index": None, "session_hash": draw(st.one_of(st.just("own"), texts, values))}
    for name in draw(
        st.lists(st.sampled_from(["data", "fn_index", "session_hash", "event_data", "trigger_id"]), max_size=2)
    ):
        body[name] = draw(values)
    return body


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """Method, path and body."""
    path = draw(
        st.sampled_from([JOIN, JOIN, JOIN, CALL, CALL, CANCEL, DATA, "/gradio_api/call/odds", "/gradio_api/call/x"])
    )
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from(["POST", "PUT", "GET", "DELETE"])), path, draw(st.binary(max_size=200))
    if kind == 1:
        bracket = draw(st.sampled_from(["[", '{"data":', '[{"a":']))
        return "POST", path, (bracket * draw(st.integers(1, 6000))).encode()
    content = draw(values) if kind == 2 else draw(calls())
    body = json.dumps(content).encode()
    if kind == 3:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    return "POST", path, body


@dataclass
class Fuzz:
    """What came of the payloads."""

    port: int
    write: int  # Gradio's number of the endpoint
    sent: int = 0
    accepted: int = 0
    failed: list[str] = field(default_factory=list)  # crashes, hangs, 500s, refusals without a reason
    slowest: tuple[float, str] = (0.0, "")  # seconds that a refusal took, and of what

    def send(self, method: str, path: str, body: bytes) -> None:
        """Send one payload as somebody new, and take back what it started."""
        body = body.replace(b'"fn_index": null', b'"fn_index": %d' % self.write)
        self.sent += 1
        visitor = {"X-Forwarded-For": f"10.{self.sent >> 16}.{self.sent >> 8 & 255}.{self.sent & 255}"}
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **visitor})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{type(error).__name__} after {method} {path} {body[:200]!r}")
            return
        finally:
            connection.close()
        if answer.status == 200:
            self.accepted += 1
            self._take_back(content, body)
            return
        told = f"{answer.status} {content[:200]!r} after {method} {path} {body[:200]!r}"
        self.slowest = max(self.slowest, (time.perf_counter() - began, told))
        with contextlib.suppress(ValueError):
            if answer.status < 500 and json.loads(content)["detail"]:
                return
        self.failed.append(told)

    def _take_back(self, content: bytes, body: bytes) -> None:
        """So that the page has room for the next one."""
        if event := json.loads(content).get("event_id"):
            with contextlib.suppress(ValueError, AttributeError):
                session = json.loads(body).get("session_hash")
                for name in {session if isinstance(session, str) else event, event}:
                    asked = {"session_hash": name, "fn_index": self.write, "event_id": event}
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                    connection.request("POST", CANCEL, json.dumps(asked), {"Content-Type": "application/json"})
                    connection.getresponse().read()
                    connection.close()


def fuzz(port: int, number: int, count: int) -> Fuzz:
    """Send so many payloads, the same each time. number: Gradio's of the endpoint that writes."""
    done = Fuzz(port, number)

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(requests())
    def send(request: tuple[str, str, bytes]) -> None:
        if done.sent < count:
            done.send(*request)

    while done.sent < count:
        before = done.sent
        send()
        if done.sent == before:
            break
    return done


async def bodies(page: Page, sizes: list[int]) -> list[str]:
    """Bodies of so many bytes to every kind of route, with their length said or not: what was not answered with 413."""
    wrong = []
    for size, chunked, path in itertools.product(sizes, (False, True), (JOIN, CALL, "/gradio_api/upload", "/health")):
        answer = await fetch(page, path, b"x" * size, chunked=chunked)
        if answer.status != 413:
            wrong.append(f"{answer.status} for {size:,} bytes to {path}, {'chunked' if chunked else 'whole'}")
    return wrong


def probes(port: int) -> list[tuple[str, str, dict[str, str], object]]:
    """Method, path, headers, body of more than two hundred attempts at what is nobody's business."""
    files = ["etc/passwd", "app.py", "pyproject.toml", "checkpoints/jungle-book/model.onnx", "proc/self/environ"]
    ups = [
        "/",
        "../../../../../../",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/",
        "..%2f..%2f..%2f..%2f",
        "..\\..\\..\\",
        "....//....//",
    ]
    roots = ["/gradio_api/file=", "/file=", "/jungle/", "/assets/", "/static/", "/gradio_api/file/"]
    out = [("GET", f"{root}{up}{name}", {}, None) for root, up, name in itertools.product(roots, ups, files)]
    closed = (
        "upload", "run/write", "api/write", "run/predict", "proxy=https://example.com", "stream/x", "component_server",
        "queue/status", "runs", "run-history/records", "dev/reload", "vibe-edit", "vibe-code", "process_recording",
        "login_check", "token", "user", "app_id", "deep_link", "reset", "heartbeat/x", "upload_progress?upload_id=1",
    )  # fmt: skip
    out += [(method, f"/gradio_api/{name}", {}, None) for name in closed for method in ("GET", "POST")]
    out += [
        ("GET", path, {}, None) for path in ("/monitoring", "/monitoring/summary", "/docs", "/openapi.json", "/login")
    ]
    out += [
        ("GET", f"/{to}", {}, None)
        for to in ("//example.com/", "/example.com/..", "%5cexample.com", "jungle", "assets")
    ]
    body = {"data": GOOD, "fn_index": 0, "session_hash": "forged"}
    foreign = [
        "https://example.com",
        "null",
        f"http://127.0.0.1.example.com:{port}",
        "http://localhost:1",
        "https://evil.hf.space",
    ]
    for origin, path in itertools.product(foreign, (JOIN, CALL, CANCEL)):
        out.append(("POST", path, {"Origin": origin}, body))
        out.append(("OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": "POST"}, None))
    for origin, path in itertools.product(foreign, ("/", "/config", "/health", "/gradio_api/info")):
        out.append(("GET", path, {"Origin": origin, "Host": "page.example.org"}, None))
    for site, kind in itertools.product(("cross-site", "same-site"), ("application/json", "text/plain")):
        out.append(("POST", JOIN, {"Sec-Fetch-Site": site, "Content-Type": kind}, body))
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        out.append(("POST", JOIN, {"Content-Type": kind}, body))
    return out


async def probe(page: Page) -> tuple[int, list[str]]:
    """How many probes were made, and what each of those that got something got."""
    got, all_probes = [], probes(page.port)
    for method, path, headers, body in all_probes:
        answer = await fetch(page, path, body, method, headers)
        told = f"{answer.status} for {method} {path} {headers}"
        location = answer.headers.get("location", "")
        if LEAKS.search(answer.body) or "access-control-allow-origin" in answer.headers or "example.com" in location:
            got.append(f"{told}: leak")
        elif (method == "POST" or ".." in path or "%2e" in path) and answer.status < 400:
            got.append(f"{told}: let in")
        elif answer.status >= 500 or not answer.status:
            got.append(f"{told}: failed")
    return len(all_probes), got


SCRIPTS = [
    "<script>window.hurt=1</script>", "<img src=x onerror=window.hurt=1>", "<svg/onload=window.hurt=1>",
    "${Object.assign(window,{hurt:1})}", "{{window.hurt=1}}", "<%= window.hurt=1 %>", "#{window.hurt=1}",
    "javascript:window.hurt=1",
    "'\"><iframe srcdoc='<script>parent.hurt=1</script>'>", "</textarea><script>hurt=1</script>",
    "<a href=javascript:window.hurt=1 autofocus onfocus=window.hurt=1>", "<style>@import 'javascript:hurt=1'</style>",
    "\\u003cscript\\u003ewindow.hurt=1\\u003c/script\\u003e", "&lt;script&gt;window.hurt=1&lt;/script&gt;",
    "<details open ontoggle=window.hurt=1>",
    "<math><mtext></p><img src=x onerror=window.hurt=1>", "]]><script>hurt=1</script>",
    "<input autofocus onfocus=window.hurt=1>", "`${window.hurt=1}`", "[x](javascript:window.hurt=1)",
]  # fmt: skip
RUN = """async (text) => {
    const token = {id: 1, text, bits: 1, entropy: 1, rank: 0, alternatives: [1, 0.5]};
    jungle.set({...jungle.settings, prompt: text, stop: text.slice(0, 90), length: 2});
    jungle.generate(jungle.settings);
    while (jungle.stream) await new Promise((resolve) => setTimeout(resolve, 5));
    jungle.open({...jungle.settings}, [token, token], "another");
    jungle.pin(0);
    return window.hurt === undefined;
}"""


def scripts(page: Page, count: int) -> list[str]:
    """Texts that would be scripts, as prompts, tokens and links in a real browser: those that ran."""
    sys.path.insert(0, str(ROOT / "tests"))
    from playwright.sync_api import sync_playwright
    from serving import CHROMIUM, QUIET

    payloads = [a + b for a, b in itertools.islice(itertools.product(["", *SCRIPTS], SCRIPTS), count)]
    home, ran = f"http://127.0.0.1:{page.port}/", []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        tab = browser.new_page()
        tab.goto(home)
        tab.wait_for_function("window.jungle?.settings")
        for payload in payloads:
            link = json.dumps({"prompt": payload, "stop": payload, "temperature": payload})
            tab.evaluate("(hash) => { location.hash = hash }", link)
            if not tab.evaluate(RUN, payload):
                ran.append(payload)
        tab.evaluate(
            "(text) => { document.body.append(document.createRange().createContextualFragment(text)) }", SCRIPTS[0]
        )
        if tab.evaluate("window.hurt") is not None:
            ran.append("a script that was put into the page itself")
        browser.close()
    return ran
