"""Settling in batches: outcomes that come while a write is under way share the next one.

Nothing is dropped while Redis is away: outcomes wait here, and are written when it is back. If the process dies first,
the jobs' leases run out and they run again: at least once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.store.entries import SettleAnswer, Settlement
from arqway.workers.store.jobs import JobStore

logger = logging.getLogger("arqway.workers.executor")

_BATCH = 200
_TURNS = 3
"""Turns of the event loop before a write, so that more outcomes join it, and the next claim, which the free slots wait
for, goes to Redis first."""

AboutT = TypeVar("AboutT")


class Settler(Generic[AboutT]):
    """Writes settlements, each answered by a call of ``settled``.

    Args:
        store: Where they are written.
        settled: Called with what ``add`` was told about the settlement, and the store's answer. After a connection
            broke in the middle, ``lost`` may only mean that the first try did arrive.
    """

    def __init__(self, store: JobStore, settled: Callable[[AboutT, SettleAnswer], None]) -> None:
        self._store = store
        self._settled = settled
        self._waiting: list[tuple[Settlement, AboutT]] = []
        self._writer: asyncio.Task[None] | None = None

    def add(self, settlement: Settlement, about: AboutT) -> None:
        """Write ``settlement`` soon."""
        self._waiting.append((settlement, about))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())

    async def drained(self) -> None:
        """Return when everything added is written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        backoff = Backoff()
        try:
            while self._waiting:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                try:
                    await self._write_batch(_BATCH)
                    backoff.reset()
                except StoreUnavailable:
                    await asyncio.sleep(backoff.next_s())
        finally:
            self._writer = None

    async def _write_batch(self, size: int) -> None:
        batch = self._waiting[:size]
        try:
            answers = await self._store.settle([settlement for settlement, _ in batch])
        except StoreUnavailable:
            raise
        except Exception:
            if size > 1:  # one settlement that Redis refuses must not hold up the others
                for _ in batch:
                    await self._write_batch(1)
                return
            logger.exception("An outcome was refused by Redis", extra={"job_id": batch[0][0].id})
            answers = ["lost"]
        del self._waiting[: len(batch)]
        for (_, about), answer in zip(batch, answers, strict=True):
            self._settled(about, answer)
