"""The heartbeat: every few seconds a worker writes to Redis that it is alive and what it is doing."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.engine.vitals import Vitals
from arqway.workers.store.workers import ArqHealth, Fleet

if TYPE_CHECKING:
    from arqway.workers.engine.worker import JobWorker

logger = logging.getLogger("arqway.workers.engine")

PERIOD_S = 10.0
BEATS = 3
"""A worker that misses this many in a row is considered gone."""
_AWAY_S = 1.0
"""Pause between attempts while Redis is away."""
_FAREWELL_S = 1.0


class Heartbeat:
    """Sends the heartbeat of one worker.

    Args:
        worker: Read from the side thread.
        vitals: Updated with each beat that Redis accepts.
        queues: All queues that it serves.
        kinds: All kinds that it runs.
    """

    def __init__(self, worker: "JobWorker", vitals: Vitals, *, queues: Collection[str], kinds: Collection[str]) -> None:
        self._worker = worker
        self._vitals = vitals
        try:
            version = metadata.version("arqway")
        except metadata.PackageNotFoundError:  # running from a checkout that is not installed
            version = "unknown"
        self._record = WorkerRecord(
            id=worker.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version,
            queues=tuple(queues),
            kinds=tuple(sorted(kinds)),
            max_jobs=worker.max_jobs,
        )

    async def run(self, fleet: Fleet) -> None:
        """Beat until cancelled. Survives outages of Redis."""
        worker, vitals = self._worker, self._vitals
        while True:
            counts = f"j_complete={worker.jobs_complete} j_failed={worker.jobs_failed} j_retried={worker.jobs_retried}"
            arq_health = ArqHealth(
                worker.health_check_key,
                worker.queue_name,
                f"{datetime.now().astimezone():%b-%d %H:%M:%S} {counts} j_ongoing={len(worker.tasks)} queued=",
                int((worker.health_check_interval + 1) * 1000),
            )
            record = replace(
                self._record,
                running=len(worker.tasks),
                settled=worker.jobs_complete + worker.jobs_retried + worker.jobs_failed,
                failed=worker.jobs_failed,
                loop_lag_ms=int(vitals.blocked_s() * 1000),
                stalled=vitals.stalled(),
                unready=vitals.unready(),
            )
            pause_s = min(PERIOD_S, arq_health.life_ms / 1000 / 2)
            try:
                life_ms = int(PERIOD_S * BEATS * 1000)
                started_ms = await fleet.beat(record, life_ms=life_ms, arq_health=arq_health)
                self._record = replace(self._record, started_ms=started_ms)
                vitals.heard_at_s = time.monotonic()
            except StoreUnavailable:
                pause_s = min(pause_s, _AWAY_S)
            await asyncio.sleep(pause_s)

    async def farewell(self, fleet: Fleet) -> None:
        """Remove the worker from the list. If Redis is away or refuses, its record expires instead. Never raises."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await fleet.remove(self._record.id)
        except (TimeoutError, StoreUnavailable):
            return
        except Exception:
            logger.exception("The worker could not be removed from the list of workers")
