"""The page on Ray Serve: processes that serve it, before the replicas that write.

Gradio answers a question in two requests, which must reach the same process. The page names its calls in the header
x-session-id, and Serve's consistent hashing sends equal names to one process; there is nothing to share among them.
"""

import logging
import os
import signal
import socket
import threading
from pathlib import Path

import ray
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from lstm import checkpoint, hub
from lstm.cluster import ClusterConfig, connect, writers
from lstm.config import Refused
from lstm.remote import RemoteEngine
from lstm.web.library import Library
from lstm.web.server import mounted

ROOT = Path(__file__).resolve().parents[2]
# The project goes to each machine, without these.
LEFT = [".git", ".venv", ".*_cache", ".hypothesis", "/tests", "/docs", "/runs", "*.run"]
NAME = "jungle"
REQUESTS = 2048  # that a page process has open at a time, of all kinds
ROUTER = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"


@serve.ingress()
class Page:
    """A process that serves the page."""

    def __init__(self, config: ClusterConfig, writers: DeploymentHandle):
        """Raises Refused if the checkpoint is not here."""
        self._config, self._connect = config, connect(writers)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The page, whose texts are written by the replicas."""
        first = checkpoint.load(hub.folder(self._config.checkpoint))
        library = Library(first, lambda opened: RemoteEngine(opened, self._connect))
        return mounted(library, self._config.streams, self._config.mcp)


def application(config: ClusterConfig) -> Application:
    """The whole of it, as a Serve config file names it: its args are ClusterConfig's."""
    deployment = serve.deployment(
        Page,
        name="page",
        num_replicas=config.pages,
        max_ongoing_requests=REQUESTS,
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        graceful_shutdown_timeout_s=config.grace,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(config, writers(config))


def reachable(name: str, address: str) -> str:
    """How every process of the cluster at an address finds a checkpoint: a name on the Hub stays as it is.

    A folder of the project goes to each machine with it, any other must be there. Raises Refused if it cannot be read.
    """
    folder = hub.folder(name)
    checkpoint.load(folder)  # a refusal here is told at once
    if folder != Path(name):
        return name
    whole = folder.resolve()
    return str(whole.relative_to(ROOT) if address and whole.is_relative_to(ROOT) else whole)


def serve_cluster(config: ClusterConfig, address: str, host: str, port: int | None, proxies: str) -> None:
    """Serve the page on the cluster at an address, or on one of this machine alone for "", until SIGINT or SIGTERM.

    proxies: addresses whose word is taken on whom they speak for, by this machine's own server.
    Raises Refused where there is no cluster, no checkpoint, or where the port is taken.
    """
    port = port or 7860
    _try_port(host, port)
    _try_cluster(address)
    stops = threading.Event()
    os.environ["FORWARDED_ALLOW_IPS"] = proxies
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "1")  # Ray takes the shipped checkpoint for ignored
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    here = {"runtime_env": {"working_dir": str(ROOT), "excludes": LEFT}} if address else {"include_dashboard": False}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="error", **here)
    except (ConnectionError, RuntimeError, RayError):
        mend = "give it Ray's token, and RAY_AUTH_MODE=token, as docs/scaling.md says"
        raise Refused(f"the cluster at {address} does not take this program in: {mend}") from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stops.set())
    try:
        serve.start(http_options={"host": host, "port": port})
        serve.run(application(config), name=NAME)
        print(f"Jungle LSTM reads {config.checkpoint} and writes on http://{host}:{port}", flush=True)
        stops.wait()
        serve.delete(NAME)
    finally:
        ray.shutdown()


def _try_port(host: str, port: int) -> None:
    """Raise Refused where the port is taken: Serve would look for the reason in its logs."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError:
        raise Refused(f"port {port} of {host} cannot be opened: choose another --port") from None


def _try_cluster(address: str) -> None:
    """Raise Refused where nobody answers: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        if address:
            socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError):
        raise Refused(f"there is no cluster at {address}: start one with 'ray start --head --port 6379'") from None
