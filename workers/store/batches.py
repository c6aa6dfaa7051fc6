"""``BatchStore``: snapshots of batches."""

from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import store_errors
from arqway.workers.store.facade import Facade


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
        found = await self._call("batch", [batch_id])
        if not found:
            return None
        tenant, created, total, finished, version, *counts = found
        states = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")
        by_state = {JobState(state): int(count) for state, count in zip(states, counts, strict=True)}
        ended = int(finished) if finished else None
        return BatchRecord(batch_id, tenant.decode(), int(created), int(total), ended, int(version), by_state)
