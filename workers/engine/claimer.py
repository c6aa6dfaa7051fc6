"""Claiming: keep the free slots filled with due jobs, queue after queue."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from workers.store import Claim, Claims, JobStore

_BATCH = 200


class Found(NamedTuple):
    """What one look at all queues gave."""

    jobs: list[Claim]
    idle_s: float | None
    """Time until the next job of any queue is due, as far as anybody knows; None: never."""


class Claimer:
    """Claims jobs for one worker process.

    Args:
        store: Where the queues are.
        queues: Served in turn, so that none starves behind a long one.
        worker_id: Written into the records.
        lease_ms: How long a claim holds without renewal.
    """

    def __init__(self, store: JobStore, queues: Sequence[str], worker_id: str, lease_ms: int) -> None:
        self._store = store
        self._queues = list(queues)
        self._worker_id = worker_id
        self._lease_ms = lease_ms
        self._boot = secrets.token_hex(6)
        self._claims = 0

    async def claim(self, free: int) -> Found:
        """Take up to ``free`` due jobs. Raises StoreUnavailable; what it had claimed is then rescued."""
        jobs: list[Claim] = []
        waits_ms: list[int] = []
        for queue in self._queues:
            if len(jobs) < free:
                found = await self._claim_from(queue, min(free - len(jobs), _BATCH))
                jobs += found.jobs
                if found.next_due_ms is not None:
                    waits_ms.append(max(0, found.next_due_ms - found.now_ms))
        self._queues.append(self._queues.pop(0))
        return Found(jobs, min(waits_ms) / 1000 if waits_ms else None)

    async def _claim_from(self, queue: str, want: int) -> Claims:
        self._claims += 1
        return await self._store.claim(
            queue,
            want=want,
            lease_ms=self._lease_ms,
            worker=self._worker_id,
            token_prefix=f"{self._boot}.{self._claims}.",
        )
