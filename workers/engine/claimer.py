"""Claiming: take due jobs, queue after queue."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from arqway.workers.store.entries import Claim, Claims
from arqway.workers.store.jobs import JobStore

_BATCH = 200


class Found(NamedTuple):
    """What one look at all queues gave."""

    jobs: list[Claim]
    next_due_ms: int | None
    """When the next job of any queue is due, as far as anybody knows, by the server's clock; it may be past."""
    waiting: bool
    """Whether any queue holds a job, due, scheduled or running."""
    skew_ms: float
    """The server's clock less ours."""


class Claimer:
    """Claims jobs for one worker process.

    Args:
        store: Where the queues are.
        queues: Served in turn, so that none starves behind a long one.
        worker_id: Written into the records.
        lease_ms: How long a claim holds without renewal.
        on_probation: Counts the jobs running here that may be to blame for the loss of workers.
    """

    def __init__(
        self, store: JobStore, queues: Sequence[str], worker_id: str, lease_ms: int, on_probation: Callable[[], int]
    ) -> None:
        self._store = store
        self._queues = list(queues)
        self._worker_id = worker_id
        self._lease_ms = lease_ms
        self._on_probation = on_probation
        self._boot = secrets.token_hex(6)
        self._claims = 0

    async def claim(self, free: int) -> Found:
        """Take up to ``free`` due jobs. Raises StoreUnavailable; what it had claimed is then rescued."""
        jobs: list[Claim] = []
        dues: list[int] = []
        skew_ms = 0.0
        for queue in self._queues:
            if len(jobs) < free:
                found = await self._claim_from(queue, min(free - len(jobs), _BATCH), jobs)
                skew_ms = found.now_ms - time.time() * 1000
                jobs += found.jobs
                if found.next_due_ms is not None:
                    dues.append(found.next_due_ms)
        self._queues.append(self._queues.pop(0))
        return Found(jobs, min(dues, default=None), bool(dues or jobs), skew_ms)

    async def _claim_from(self, queue: str, want: int, jobs: Sequence[Claim]) -> Claims:
        self._claims += 1
        return await self._store.claim(
            queue,
            want=want,
            lease_ms=self._lease_ms,
            worker=self._worker_id,
            token_prefix=f"{self._boot}.{self._claims}.",
            on_probation=self._on_probation() + sum(job.rescues > 1 for job in jobs),
        )
