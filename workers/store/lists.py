"""Sets of jobs: pages of lists, groups of dead letters, and batches."""

import json
from typing import Any, NamedTuple

from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import Facade, rows, store_errors

_LOOKS = 2_500
"""Maximum number of ids examined for one page: some 10 ms of server time."""


class ListPage(NamedTuple):
    """A page of a list of jobs."""

    ids: list[str]
    last: tuple[int, str] | None
    """Score and id of the last job examined, not necessarily one of ``ids``; None if there is no further page."""


class DeadGroup(NamedTuple):
    """Dead letters whose failures have the same fingerprint."""

    fingerprint: str
    jobs: int
    first_ms: int
    latest_ms: int
    latest_id: str


class ListStore(Facade):
    """The job lists of one server."""

    async def page(self, tenant: str, asked: dict[str, Any], *, limit: int) -> ListPage:
        """Return a page of a tenant's jobs, latest first; ``asked`` is described in ``lua/list.lua``. Atomic."""
        more, score, last_id, *ids = await self._call("list", [tenant, limit, _LOOKS, json.dumps(asked)])
        last = (int(float(score)), last_id.decode()) if more else None
        return ListPage([job_id.decode() for job_id in ids], last)

    async def dead_groups(self, tenant: str, *, skip: int, limit: int) -> tuple[int, list[DeadGroup]]:
        """Return the total number of dead-letter groups and a page of them, latest failure first. Atomic."""
        total, *flat = await self._call("dead_groups", [tenant, skip, limit])
        groups = [
            DeadGroup(mark.decode(), int(count), int(float(first)), int(float(latest)), latest_id.decode())
            for mark, count, first, latest, latest_id in rows(flat, 5)
        ]
        return int(total), groups


class BatchRecord(NamedTuple):
    """A snapshot of a batch. ``counts`` has the number of its jobs in each state."""

    id: str
    tenant: str
    created_ms: int
    total: int
    finished_ms: int | None
    version: int
    counts: dict[JobState, int]


class BatchStore(Facade):
    """The batches of one server; ``JobStore.submit`` creates them."""

    async def job_ids(self, batch_id: str) -> list[str]:
        """Return the ids of a batch's jobs, in the order of the batch."""
        with store_errors():
            return [job_id.decode() for job_id in await self.redis.zrange(keys.batch_jobs(batch_id), 0, -1)]

    async def read(self, batch_id: str) -> BatchRecord | None:
        """Return a snapshot of a batch; None if it does not exist. Atomic: one script."""
        if not (found := await self._call("batch", [batch_id])):
            return None
        tenant, created_ms, total, finished_ms, version, *counts = found
        ended_ms = int(finished_ms) if finished_ms else None
        by_state = dict(zip(JobState, map(int, counts), strict=True))
        return BatchRecord(batch_id, tenant.decode(), int(created_ms), int(total), ended_ms, int(version), by_state)
