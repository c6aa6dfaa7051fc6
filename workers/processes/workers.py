"""Worker processes under a supervisor: an id for each start, and the release of a dead worker's jobs."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, Start
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis
from arqway.workers.store.workers import Fleet

logger = logging.getLogger("arqway.workers.supervisor")

OpenFleet = Callable[[], AbstractAsyncContextManager[Fleet]]

_LOOKS_AFTER_S = (0.0, 0.25)
"""A claim that the dead worker sent may still be in flight at the first look."""


def worker_part(settings: Settings, target: str, server: EmbeddedServer | None = None) -> Part:
    """Return the worker processes that ``settings`` ask for.

    Args:
        settings: Those that the processes will read, too.
        target: What they run.
        server: The embedded server they use, if any; it takes precedence over ``redis_url``.
    """
    redis_url = server.url if server else settings.redis_url.get_secret_value() if settings.redis_url else ""

    @asynccontextmanager
    async def open_fleet() -> AsyncIterator[Fleet]:
        redis = open_redis(redis_url)
        try:
            yield Fleet(redis)
        finally:
            await redis.aclose(close_connection_pool=True)

    own = ("--redis-url", server.url) if server else ()
    return part_of(settings, open_fleet, settings.served_queues, target, *own)


def part_of(
    settings: Settings, open_fleet: OpenFleet, queues: Sequence[str], *arguments: str, ends: bool = False
) -> Part:
    """Return worker processes.

    Args:
        settings: How many processes, and how long a lease is.
        open_fleet: Connects to the server that holds their queues.
        queues: The names of their queues.
        arguments: Passed to ``python -m arqway.workers``.
        ends: Whether they exit by themselves when their work is done.
    """
    supervisor = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"

    def name(start: Start) -> str:
        return f"{supervisor}:{start.place}.{start.generation}"

    def command(start: Start) -> Sequence[str]:
        first = settings.worker_health_port
        health = ("--health-port", str(first + start.place - 1)) if first else ()
        return ("-m", "arqway.workers", *arguments, "--id", name(start), *health)

    async def release(start: Start) -> None:
        with suppress(TimeoutError):  # by then the leases have expired
            async with asyncio.timeout(settings.lease_s), open_fleet() as fleet:
                await release_leases(name(start), fleet, queues, int(settings.lease_s * 1000))

    return Part(
        name="worker",
        command=command,
        count=settings.processes,
        overlap=not settings.worker_health_port,
        lost=release,
        ends=ends,
    )


async def release_leases(worker_id: str, fleet: Fleet, queues: Sequence[str], lease_ms: int) -> None:
    """Make the jobs of a dead worker due at once. Keeps trying while Redis is away."""
    for look_after_s in _LOOKS_AFTER_S:
        await asyncio.sleep(look_after_s)
        await _release(fleet, worker_id, queues, lease_ms)


async def _release(fleet: Fleet, worker_id: str, queues: Sequence[str], lease_ms: int) -> None:
    backoff, jobs = Backoff(), 0
    while True:
        try:
            for queue in queues:
                jobs += await fleet.release(queue, worker_id, lease_ms=lease_ms)
            await fleet.remove(worker_id)
            break
        except StoreUnavailable:
            await asyncio.sleep(backoff.next_s())
    if jobs:
        logger.warning("The jobs of a dead worker are due again", extra={"worker": worker_id, "jobs": jobs})
