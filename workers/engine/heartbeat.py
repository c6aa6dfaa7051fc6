"""The heartbeat: a worker writes to Redis, every few seconds, that it lives and how it is."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.engine.vitals import Vitals
from arqway.workers.store.workers import ArqHealth, Fleet

PERIOD_S = 10.0
BEATS = 3
"""A worker that misses so many in a row is gone."""
_FAREWELL_S = 1.0


class Heartbeat:
    """Beats for one worker.

    Args:
        vitals: Told of each beat that Redis has taken.
        describe: Says how the worker is.
        arq_health: Says what stock arq tools are to read.
    """

    def __init__(
        self, vitals: Vitals, describe: Callable[[], WorkerRecord], arq_health: Callable[[], ArqHealth]
    ) -> None:
        self._vitals = vitals
        self._describe = describe
        self._arq_health = arq_health

    async def beat(self, fleet: Fleet) -> None:
        """Beat until cancelled. Redis may come and go."""
        started_ms = 0
        while True:
            health = self._arq_health()
            period_s = min(PERIOD_S, health.life_ms / 1000 / 2)
            try:
                record = replace(self._describe(), started_ms=started_ms)
                started_ms = await fleet.beat(record, life_ms=int(PERIOD_S * BEATS * 1000), arq_health=health)
                self._vitals.heard_at_s = time.monotonic()
            except StoreUnavailable:
                period_s = min(period_s, 1.0)
            await asyncio.sleep(period_s)

    async def stop(self, fleet: Fleet) -> None:
        """Take the worker off the list. If Redis is away, its record runs out instead."""
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await fleet.remove(self._describe().id)
        except (TimeoutError, StoreUnavailable):
            return
