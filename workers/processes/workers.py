"""Worker processes under a supervisor: a name for each start, and the release of what a dead one held."""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, Start
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis
from arqway.workers.store.workers import Fleet

logger = logging.getLogger("arqway.workers.supervisor")

_LOOKS_AFTER_S = (0.0, 0.25)
"""A claim that the dead worker had sent may still have been on its way at the first look."""


def worker_part(settings: Settings, target: str, server: EmbeddedServer | None = None) -> Part:
    """Return the worker processes that ``settings`` ask for.

    Args:
        settings: Those that the processes will find, too.
        target: What they run.
        server: The embedded server they use, if any; it wins over ``redis_url``.
    """
    supervisor = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    redis_url = server.url if server else settings.redis_url.get_secret_value() if settings.redis_url else ""

    def name(start: Start) -> str:
        return f"{supervisor}:{start.place}.{start.generation}"

    def command(start: Start) -> Sequence[str]:
        own = ("--redis-url", server.url) if server else ()
        first = settings.worker_health_port
        health = ("--health-port", str(first + start.place - 1)) if first else ()
        return ("-m", "arqway.workers", target, "--id", name(start), *own, *health)

    async def release(start: Start) -> None:
        with suppress(TimeoutError):  # the leases have run out meanwhile
            async with asyncio.timeout(settings.lease_s):
                await release_leases(name(start), settings, redis_url)

    return Part(
        name="worker",
        command=command,
        count=settings.processes,
        overlap=not settings.worker_health_port,
        lost=release,
    )


async def release_leases(worker_id: str, settings: Settings, redis_url: str) -> None:
    """Make the jobs of a worker that has died due at once. While Redis is away it goes on trying."""
    redis = open_redis(redis_url)
    try:
        for look_after_s in _LOOKS_AFTER_S:
            await asyncio.sleep(look_after_s)
            await _release(Fleet(redis), worker_id, settings)
    finally:
        await redis.aclose(close_connection_pool=True)


async def _release(fleet: Fleet, worker_id: str, settings: Settings) -> None:
    backoff, lease_ms, jobs = Backoff(), int(settings.lease_s * 1000), 0
    while True:
        try:
            for queue in settings.served_queues:
                jobs += await fleet.release(queue, worker_id, lease_ms=lease_ms)
            await fleet.remove(worker_id)
            break
        except StoreUnavailable:
            await asyncio.sleep(backoff.next_s())
    if jobs:
        logger.warning("The jobs of a dead worker are due again", extra={"worker": worker_id, "jobs": jobs})
