"""Workers under the real supervisor, and jobs of theirs that a test steers from outside, by files in a folder."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

from arqway import JobContext, Registry, job
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis
from arqway.workers.store.workers import Fleet
from tests.support.processes import Command, arqway
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_LOOK_S = 0.01


UNFIT = """
from contextlib import asynccontextmanager
from arqway import Registry
from arqway.workers.contract.errors import ConfigurationError
from tests.support.fleet import hold

@asynccontextmanager
async def open_pen():
    raise ConfigurationError("there is no pen")
    yield

JOBS = Registry([hold], resources=open_pen)
"""
"""A module whose registry can be loaded, and whose workers cannot start."""


@job("test.hold")
async def hold(ctx: JobContext, folder: str) -> int:
    """Wait for the file ``finish``; return the process that ran it."""
    while not (Path(folder) / "finish").exists():  # noqa: ASYNC110 - a test's file
        await asyncio.sleep(_LOOK_S)
    return os.getpid()


@job("test.block")
async def block(ctx: JobContext, folder: str) -> int:
    """Block the event loop until there is the file ``finish``."""
    while not (Path(folder) / "finish").exists():
        time.sleep(_LOOK_S)  # noqa: ASYNC251 - the point
    return os.getpid()


@job("test.die")
async def die(ctx: JobContext, folder: str) -> None:
    """Kill the worker."""
    os.kill(os.getpid(), SIGKILL)


JOBS = Registry([hold, block, die])


def supervised(
    folder: Path, redis_url: str, *arguments: str, jobs: str = "tests.support.fleet:JOBS", **variables: object
) -> AbstractContextManager[Command]:
    """Run ``arqway worker`` with these arguments and ``ARQWAY_`` variables in ``folder``."""
    changes = {f"ARQWAY_{name}".upper(): str(value) for name, value in variables.items()}
    changes |= {"REDIS_URL": redis_url, "ARQWAY_JOBS": jobs, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    return arqway(folder, "worker", *arguments, changes=changes, name="worker")


@asynccontextmanager
async def queue_at(redis_url: str, registry: Registry = JOBS) -> AsyncIterator[JobQueue]:
    """A client of these jobs."""
    async with open_queue(Settings.model_validate({"redis_url": redis_url}), registry) as jobs:
        yield jobs


@asynccontextmanager
async def fleet_at(redis_url: str) -> AsyncIterator[Fleet]:
    """The fleet of a server."""
    redis = open_redis(redis_url)
    try:
        yield Fleet(redis)
    finally:
        await redis.aclose(close_connection_pool=True)


async def living(fleet: Fleet, count: int) -> list[WorkerRecord]:
    """Return the workers once there are so many."""
    found: Sequence[WorkerRecord] = []

    async def all_beat() -> bool:
        nonlocal found
        found = await fleet.read()
        return len(found) == count

    await wait_until(all_beat, f"{count} workers beat", timeout_s=20)
    return list(found)


def lines(command: Command, message: str) -> list[dict[str, Any]]:
    """Return what was logged with this message."""
    return [line for line in _logged(command.output) if line["message"] == message]


def _logged(output: str) -> Iterator[dict[str, Any]]:
    for text in output.splitlines():
        if text.startswith("{") and text.endswith("}"):
            yield json.loads(text)


@contextmanager
def gate(folder: Path) -> Iterator[Path]:
    """A folder whose jobs go on at the end of the block, if not before."""
    folder.mkdir()
    try:
        yield folder
    finally:
        (folder / "finish").touch()
