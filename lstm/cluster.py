"""The engine on Ray Serve: replicas on as many cores and machines as there are, each with checkpoints by their names.

Needs requirements-cluster.txt.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from pydantic import Field
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from lstm import checkpoint, hub
from lstm.checkpoint import Checkpoint
from lstm.config import Refused, SamplingConfig, Settings
from lstm.engine import Busy, Engine
from lstm.remote import Lost, Part, parts
from lstm.text import Moment

SLOTS = 64  # texts that a replica writes at a time
WAITING = 1024  # texts that may wait, at each page process, for one of them
ROOM = 4  # checkpoints that a replica has open at a time
DRAIN = 150.0  # seconds that the texts of a replica have to end when it is given up: more than a text may take


class ClusterConfig(Settings):
    """How a page is spread over a cluster."""

    checkpoint: str = Field(description="a folder that every machine has, or OWNER/NAME[@REVISION] on the Hub")
    replicas: int = Field(1, ge=1, le=10_000, description="engines that always run, each on a core of its own")
    most: int = Field(8, ge=1, le=10_000, description="engines that run when many texts are asked for")
    busy: float = Field(24, gt=0, le=SLOTS, description="texts of an engine above which another one is started")
    pages: int = Field(1, ge=1, le=1_000, description="processes that serve the page")
    streams: int = Field(3, ge=1, le=10_000, description="texts that one address may have open at a page process")
    grace: float = Field(20, ge=0, le=3600, description="seconds that open texts have to end when a page process stops")
    mcp: bool = Field(False, description="whether language-model assistants may ask")


class _Opened:
    """A checkpoint at work in a replica. It is let go of once nobody uses it, however it was forgotten."""

    def __init__(self, engine: Engine):
        self.engine, self.users, self.forgotten = engine, 0, False

    def __enter__(self) -> Engine:
        self.users += 1
        return self.engine

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        self._close_if_idle()

    def __del__(self) -> None:  # Serve calls it when it needs the room
        self.forgotten = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self.forgotten and not self.users:
            self.engine.close()


class Writer:
    """A replica: writes texts with the checkpoints of a folder, and opens each when it is first asked for."""

    def __init__(self, first: str):
        """first: a checkpoint; its neighbours are there too. Raises Refused if it is not here."""
        self._folder = hub.folder(first).resolve().parent
        self._engines: list[Engine] = []
        gc.collect()
        gc.freeze()  # else every full collection walks Ray's objects

    async def write(
        self, model: str, start: Moment, settings: SamplingConfig, watch: bool, reached: Moment | None
    ) -> AsyncIterator[Part]:
        """What follows a moment, or what is left of it where another replica had reached a later one.

        model: a checkpoint's name and digest, NAME@DIGEST. Serve is not told of it when it chooses a replica: it
        would send all texts of a model to the first one that has it open.
        """
        with await self._open(model) as engine:
            stream = engine.stream("", settings, start, watch=watch, reached=reached)
            async with aclosing(stream), aclosing(parts(stream, lambda: engine.running)) as coming:
                async for part in coming:
                    yield part

    def check_health(self) -> None:
        """Serve replaces a replica for which this raises."""
        if dead := [engine for engine in self._engines if engine.running and not engine.alive]:
            raise RuntimeError(f"{len(dead)} engines have stopped")

    @serve.multiplexed(max_num_models_per_replica=ROOM)
    async def _open(self, model: str) -> _Opened:
        name, digest = model.rsplit("@", 1)
        opened = await asyncio.to_thread(checkpoint.load, self._folder / name)
        if opened.digest != digest:
            raise Refused(f"{self._folder / name} is another version here: give every machine the same one")
        engine = await asyncio.to_thread(Engine, opened, SLOTS)
        self._engines = [*(each for each in self._engines if each.alive), engine]
        return _Opened(engine)


def writers(config: ClusterConfig) -> Application:
    """The replicas, more of them while many texts are asked for if that is allowed."""
    scale: dict[str, object] = {"num_replicas": config.replicas}
    if config.most > config.replicas:
        scale = {"autoscaling_config": AutoscalingConfig(
            min_replicas=config.replicas, max_replicas=config.most, target_ongoing_requests=config.busy,
            upscale_delay_s=5, downscale_delay_s=120,
        )}  # fmt: skip
    deployment = serve.deployment(
        Writer,
        name="writer",
        max_ongoing_requests=SLOTS,
        max_queued_requests=WAITING,
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=DRAIN,
        ray_actor_options={"num_cpus": 1},
        **scale,
    )
    return deployment.bind(config.checkpoint)


def connect(handle: DeploymentHandle) -> Callable[[Checkpoint], Callable[..., AsyncIterator[Part]]]:
    """What RemoteEngine needs, from a handle of the replicas."""

    def to(opened: Checkpoint) -> Callable[..., AsyncIterator[Part]]:
        model = f"{opened.path.name}@{opened.digest}"
        # By gRPC and not by Ray's object store, which costs three times as much for each part.
        ask = handle.options(method_name="write", stream=True, _by_reference=False, response_serialization="pickle")

        async def write(*asked: object) -> AsyncIterator[Part]:
            response = ask.remote(model, *asked)
            try:
                async for part in response:
                    yield part
            except BackPressureError:
                raise Busy(f"{WAITING} texts wait already: try again in a minute") from None
            except RayTaskError as error:  # what the replica raised
                raise error.cause from None
            except (RayError, RayServeException) as error:
                raise Lost(str(error)) from error
            finally:
                response.cancel()

        return write

    return to
