"""The watch: a thread that tells how the worker is, Redis by the heartbeat and probes by the health port.

It has an event loop and connections of its own, so it goes on while a job blocks the worker's loop.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Self

from arq.connections import ArqRedis

from arqway.workers.background import end
from arqway.workers.contract.keys import WEBHOOK_KIND, WEBHOOK_QUEUE
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.engine.health import HealthPort, listen
from arqway.workers.engine.heartbeat import BEATS, PERIOD_S, Heartbeat
from arqway.workers.engine.vitals import Vitals
from arqway.workers.store.connection import clone
from arqway.workers.store.workers import ArqHealth, Fleet

if TYPE_CHECKING:
    from arqway.workers.engine.intake import Intake
    from arqway.workers.engine.leases import LeaseKeeper
    from arqway.workers.engine.worker import JobWorker

logger = logging.getLogger("arqway.workers.engine")


class Watch:
    """Tells how a worker is for as long as the ``async with`` block lasts.

    Args:
        redis: Its server and options are used, its connections are not.
        heartbeat: What Redis is told.
        health: What probes are told.
        listener: Where; None: nowhere.
    """

    def __init__(
        self,
        redis: ArqRedis,
        heartbeat: Heartbeat,
        health: HealthPort,
        listener: socket.socket | None,
    ) -> None:
        self._redis = redis
        self._heartbeat = heartbeat
        self._health = health
        self._listener = listener
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._begun = threading.Event()

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._begun.wait)
        if self._listener is not None:
            host, port = self._listener.getsockname()[:2]
            logger.info("The health port is open", extra={"host": host, "port": port})
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # its loop has closed already
            self._loop.call_soon_threadsafe(self._stopped.set)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            asyncio.run(self._tell())
        except Exception:
            logger.exception("Arqway itself failed to tell how the worker is; please report this")

    async def _tell(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        server = await self._health.serve(self._listener) if self._listener is not None else None
        redis = clone(self._redis)
        fleet = Fleet(redis)
        beating = asyncio.create_task(self._heartbeat.beat(fleet))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([beating, stopped], return_when=asyncio.FIRST_COMPLETED)
            if beating.done():
                beating.result()
            await end([beating])
            await self._heartbeat.stop(fleet)
        finally:
            if server is not None:
                server.close()
            await redis.aclose(close_connection_pool=True)


def watch_over(worker: "JobWorker", intake: "Intake", leases: "LeaseKeeper", queues: Sequence[str]) -> Watch:
    """Return the watch of a worker. Raises ConfigurationError: its health port cannot be opened."""
    settings = worker.settings
    delivers = bool(settings.webhook_secrets)
    vitals = Vitals(
        blocked_s=lambda: leases.blocked_s,
        claimed_at_s=lambda: intake.claimed_at_s,
        stopping=lambda: not worker.allow_pick_jobs,
        full=lambda: len(worker.tasks) >= worker.max_jobs,
        poll_s=worker.poll_delay_s,
        stall_s=settings.stall_s,
        heard_within_s=BEATS * PERIOD_S,
    )
    begun = WorkerRecord(
        id=worker.worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=_version(),
        queues=(*queues, *[WEBHOOK_QUEUE] * delivers),
        kinds=tuple(sorted([*worker.functions, *[WEBHOOK_KIND] * delivers])),
        max_jobs=worker.max_jobs,
    )
    heartbeat = Heartbeat(vitals, partial(_describe, worker, vitals, begun), partial(_arq_health, worker))
    port = settings.worker_health_port
    listener = None if port is None else listen(settings.worker_health_host, port)
    return Watch(worker.pool, heartbeat, HealthPort(vitals), listener)


def _describe(worker: "JobWorker", vitals: Vitals, begun: WorkerRecord) -> WorkerRecord:
    return replace(
        begun,
        running=len(worker.tasks),
        settled=worker.jobs_complete + worker.jobs_retried + worker.jobs_failed,
        failed=worker.jobs_failed,
        loop_lag_ms=int(vitals.blocked_s() * 1000),
        stalled=vitals.stalled(),
        unready=vitals.unready(),
    )


def _arq_health(worker: "JobWorker") -> ArqHealth:
    counts = f"j_complete={worker.jobs_complete} j_failed={worker.jobs_failed} j_retried={worker.jobs_retried}"
    return ArqHealth(
        worker.health_check_key,
        worker.queue_name,
        f"{datetime.now().astimezone():%b-%d %H:%M:%S} {counts} j_ongoing={len(worker.tasks)} queued=",
        int((worker.health_check_interval + 1) * 1000),
    )


def _version() -> str:
    try:
        return version("arqway")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "unknown"
