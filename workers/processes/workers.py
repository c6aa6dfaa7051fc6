"""Worker processes under a supervisor: an id for each start, and the release of a dead worker's jobs.

For a stock arq ``WorkerSettings``, a separate process reports what the supervisor must know of it: only that process
and the workers import the user's module.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable
from arqway.workers.contract.keys import WEBHOOK_QUEUE, queue
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import MISCONFIGURED, Part, Start, ending
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis, store_errors
from arqway.workers.store.envelopes import Envelopes
from arqway.workers.store.workers import Fleet

logger = logging.getLogger("arqway.workers.supervisor")

_LOOKS_AFTER_S = (0.0, 0.25)
"""A claim that the dead worker sent may still be in flight at the first look."""
_TRIES = 1_000_000
"""In effect unlimited: the caller has a time limit of its own."""

Connect = Callable[[], Awaitable[Any]]
"""Returns a client for the server that holds a worker's queues."""


def worker_part(settings: Settings, target: str, server: EmbeddedServer | None = None) -> Part:
    """Return the worker processes that ``settings`` ask for.

    Args:
        settings: Those that the processes will read, too.
        target: What they run.
        server: The embedded server they use, if any; it takes precedence over ``redis_url``.
    """
    redis_url = server.url if server else settings.redis_url.get_secret_value() if settings.redis_url else ""

    async def connect() -> Any:
        return open_redis(redis_url)

    own = ("--redis-url", server.url) if server else ()
    return _part(settings, connect, settings.served_queues, target, *own)


def arq_worker_part(name: str, settings: Settings, *, fail_pickled: bool) -> Part:
    """Return the worker processes for a stock arq ``WorkerSettings``.

    Args:
        name: Such as ``module.WorkerSettings``.
        settings: How many processes, and everything that arq has no option for.
        fail_pickled: Start although pickled jobs are waiting, each of which will fail.

    Raises:
        ConfigurationError: The settings cannot be used, or pickled jobs are waiting in their queues.
    """
    from arqway.workers.engine.arq_settings import ArqQueues, open_described  # the engine, which others never load

    command = [sys.executable, "-P", "-m", "arqway.workers", "--arq", name, "--describe"]
    asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if asked.returncode == MISCONFIGURED:
        reason = asked.stderr.rstrip().rpartition("\n")[2]
        raise ConfigurationError(reason.removeprefix("arqway worker: "))
    if asked.returncode != 0:
        sys.stderr.write(asked.stderr)
        raise ConfigurationError(f"--arq {name}: a process that imported it {ending(asked.returncode)}")
    found = ArqQueues(*json.loads(asked.stdout.rstrip().rpartition("\n")[2]))
    if not fail_pickled:
        asyncio.run(_refuse_pickled(found.queues, partial(open_described, found.server, tries=1)))
    served = [*found.queues, *[WEBHOOK_QUEUE] * bool(settings.webhook_secrets)]
    connect = partial(open_described, found.server, tries=_TRIES)
    return _part(settings, connect, served, "--arq", name, ends=found.burst)


async def _refuse_pickled(queues: Sequence[str], connect: Connect) -> None:
    """Raise ConfigurationError if there are pickled jobs. If the server is away, the workers will wait for it."""
    with suppress(StoreUnavailable):
        with store_errors():
            redis = await connect()
        async with redis:
            for name in queues:
                if pickled := await Envelopes(redis).count_pickled(queue(name)):
                    raise ConfigurationError(
                        f"{pickled} of the next jobs in {queue(name)} are pickled, and would fail: convert them with "
                        "`arqway convert --pickle`, or start with --fail-pickled (docs/from-arq.md)"
                    )


def _part(settings: Settings, connect: Connect, queues: Sequence[str], *arguments: str, ends: bool = False) -> Part:
    """Return worker processes that are started with ``arguments``, on ``queues``.

    ``ends`` says whether they exit by themselves when their work is done.
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
            async with asyncio.timeout(settings.lease_s):
                redis = await connect()
                try:
                    await _release_leases(name(start), Fleet(redis), queues, int(settings.lease_s * 1000))
                finally:
                    await redis.aclose(close_connection_pool=True)

    return Part(
        name="worker",
        command=command,
        count=settings.processes,
        overlap=not settings.worker_health_port,
        lost=release,
        ends=ends,
    )


async def _release_leases(worker_id: str, fleet: Fleet, queues: Sequence[str], lease_ms: int) -> None:
    """Make the jobs of a dead worker due at once. Keeps trying while Redis is away."""
    for look_after_s in _LOOKS_AFTER_S:
        await asyncio.sleep(look_after_s)
        backoff, jobs = Backoff(), 0
        while True:
            try:
                for name in queues:
                    jobs += await fleet.release(name, worker_id, lease_ms=lease_ms)
                await fleet.remove(worker_id)
                break
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())
        if jobs:
            logger.warning("The jobs of a dead worker are due again", extra={"worker": worker_id, "jobs": jobs})
