"""Puts the page on the network: the queue's limits, the door before it, the files that come with it, a clean end."""

import gc
import inspect
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio.block_function import BlockFunction
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lstm.checkpoint import Checkpoint
from lstm.config import Refused
from lstm.web import page
from lstm.web.door import Door
from lstm.web.guests import Endpoint, Guests
from lstm.web.library import Library
from lstm.web.theme import theme

ASSETS = Path(__file__).parent / "assets"
SHEETS = ("page", "controls", "panel", "glass", "memory", "model", "compare")
READERS = 64  # streams that run side by side
WAITING = 64  # readers who may wait for one of them
ROOM = READERS + WAITING
THREADS = 2 * READERS  # Gradio's pool of jobs caps streams that are asynchronous too
STREAMS = 3  # texts that one address may have open: one on its own, and two that are compared
GRACE = 20.0  # seconds
Assist = Callable[[Library, list[Endpoint]], AbstractAsyncContextManager[ASGIApp]]


def serve(
    checkpoint: Checkpoint, host: str, port: int | None, *, streams: int = STREAMS, grace: float = GRACE,
    proxies: str = "", mcp: bool = False,
) -> None:  # fmt: skip
    """Serve the page until SIGINT or SIGTERM. Raises Refused where the port is taken.

    streams: texts that one address may have open; grace: seconds that open texts have to end when the page stops;
    proxies: addresses whose word is taken on whom they speak for; mcp: whether assistants may ask.
    """
    assist = _assistants() if mcp else None
    os.environ["FORWARDED_ALLOW_IPS"] = proxies  # where the web server looks
    library = Library(checkpoint)
    demo, doors = _built(library), []
    stops = threading.Semaphore(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stops.release())
    try:
        _, url, _ = demo.launch(
            server_name=host,
            server_port=port,
            max_threads=THREADS,
            state_session_capacity=2 * ROOM,
            strict_cors=True,
            quiet=True,
            prevent_thread_lock=True,
            **_settings(demo, library, streams, doors, assist),
        )
    except OSError:
        raise Refused(f"port {port} of {host} cannot be opened: choose another --port") from None
    _freeze()
    print(f"Jungle LSTM reads {checkpoint.path} and writes on {url}", flush=True)
    stops.acquire()
    demo.server.force_exit = not _see_off(doors[0].guests, stops, grace)
    demo.close(verbose=False)
    library.close()


def mounted(library: Library, streams: int, mcp: bool) -> FastAPI:
    """The page as an application for whatever serves it.

    streams: texts that one address may have open; mcp: whether assistants may ask. Raises Refused where that is not
    installed.
    """
    assist = _assistants() if mcp else None
    demo = _built(library)
    demo.max_threads = demo._queue.max_thread_count = THREADS
    demo.state_session_capacity = 2 * ROOM
    app = FastAPI(openapi_url=None)
    gr.mount_gradio_app(app, demo, "/", **_settings(demo, library, streams, [], assist))
    _freeze()
    return app


def _built(library: Library) -> gr.Blocks:
    """The page with its queue, and Gradio's own bookkeeping off."""
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"  # else it keeps 10,000 calls,
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**12)  # and goes through them after each
    demo = page.build(library, readers=READERS)
    # The waiting hear of their places once a second: at every change, a full line hears of 4,000.
    return demo.queue(api_open=False, max_size=ROOM, default_concurrency_limit=READERS, status_update_rate=1)


def _settings(
    demo: gr.Blocks, library: Library, streams: int, doors: list[Door], assist: Assist | None
) -> dict[str, Any]:
    """What the page looks like, and what of Gradio is left out, whoever serves it."""
    return {
        "theme": theme(),
        "head": "".join(f'<link rel="stylesheet" href="jungle/{sheet}.css">' for sheet in SHEETS),
        "app_kwargs": {"routes": _routes(library), "lifespan": _guarded(demo, library, streams, doors, assist)},
        "footer_links": ["api"],
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "max_file_size": "1kb",  # nothing here takes a file
    }


def _freeze() -> None:
    """Take Gradio's objects out of the garbage collector's walks, else frames come up to 0.2 s late."""
    gc.collect()
    gc.freeze()


def _see_off(guests: Guests, stops: threading.Semaphore, grace: float) -> bool:
    """Let nobody in, and wait until all have gone: for the grace at most, and not after a second signal. Have they?"""
    guests.leaving = True
    until = time.monotonic() + grace
    while not guests.gone and time.monotonic() < until and not stops.acquire(timeout=0.02):
        pass
    return guests.gone


def _assistants() -> Assist:
    """What answers assistants; its package is an extra."""
    try:
        from lstm.web.assistants import answering
    except ModuleNotFoundError as missing:
        raise Refused(f"--mcp needs the package {missing.name}: pip install -r requirements-mcp.txt") from None
    return answering


def _guarded(demo: gr.Blocks, library: Library, streams: int, doors: list[Door], assist: Assist | None):
    """A lifespan that puts the door before the whole application, Gradio's own middleware included."""

    def forget(session: str) -> None:
        """Gradio keeps the names for good, messages that nobody took, and 100 KB of settings that are never set."""
        queue, states = demo._queue, demo.state_holder
        for kept in (
            queue.pending_messages_per_session, queue.pending_event_ids_session, states.session_data,
            states.time_last_used,
        ):  # fmt: skip
            kept.pop(session, None)

    endpoints = [
        Endpoint(fn._id, fn.api_name, _parameters(fn), streams=fn.concurrency_id == "write")
        for fn in demo.fns.values()
        if fn.fn
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with assist(library, endpoints) if assist else nullcontext() as assistants:
            inside = app.middleware_stack or app.build_middleware_stack()  # a mounted one is not built yet
            doors.append(Door(inside, endpoints, streams, ROOM, forget, partial(_figures, library), assistants))
            app.middleware_stack = doors[0]
            yield

    return lifespan


def _parameters(fn: BlockFunction) -> dict[str, Any]:
    """The names of a function's parameters with what its components hold at first."""
    return dict(zip(inspect.signature(fn.fn).parameters, (component.value for component in fn.inputs), strict=False))


def _figures(library: Library) -> dict:
    return {"engines": {name: asdict(stats) for name, stats in library.stats().items()}}


def _routes(library: Library) -> list[Mount | Route]:
    async def status(_: Request) -> JSONResponse:
        return JSONResponse({"running": library.running})

    return [Route("/jungle/status", status), Mount("/jungle", StaticFiles(directory=ASSETS))]
