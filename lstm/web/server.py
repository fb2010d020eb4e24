"""Puts the page on the network: the queue's limits, the files that come with it, a clean end."""

import gc
import signal
import threading
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from lstm.checkpoint import Checkpoint
from lstm.config import Refused
from lstm.web import page
from lstm.web.library import Library
from lstm.web.theme import theme

ASSETS = Path(__file__).parent / "assets"
SHEETS = ("page", "controls", "panel", "glass", "memory", "model", "compare")
READERS = 64  # streams that run side by side
WAITING = 64  # readers who may wait for one of them
THREADS = 2 * READERS  # Gradio's pool of jobs caps streams that are asynchronous too


def serve(checkpoint: Checkpoint, host: str, port: int | None) -> None:
    """Serve the page until SIGINT or SIGTERM. Raises Refused where the port is taken."""
    library = Library(checkpoint)
    demo = page.build(library, readers=READERS)
    demo.queue(api_open=False, max_size=WAITING, default_concurrency_limit=READERS)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        _, url, _ = demo.launch(
            server_name=host,
            server_port=port,
            theme=theme(),
            head="".join(f'<link rel="stylesheet" href="jungle/{sheet}.css">' for sheet in SHEETS),
            app_kwargs={"routes": _routes(library)},
            max_threads=THREADS,
            state_session_capacity=4 * (READERS + WAITING),
            footer_links=["api"],
            enable_monitoring=False,
            run_history=False,
            strict_cors=True,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            max_file_size="1kb",  # nothing here takes a file
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError:
        raise Refused(f"port {port} of {host} cannot be opened: choose another --port") from None
    gc.collect()
    gc.freeze()  # else every full collection walks Gradio's objects, and frames come up to 0.2 s late
    print(f"Jungle LSTM reads {checkpoint.path} and writes on {url}", flush=True)
    stopped.wait()
    demo.close(verbose=False)
    library.close()


def _routes(library: Library) -> list[Mount | Route]:
    async def status(_: Request) -> JSONResponse:
        return JSONResponse({"running": library.running})

    return [Route("/jungle/status", status), Mount("/jungle", StaticFiles(directory=ASSETS))]
