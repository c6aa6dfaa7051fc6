"""``BatchStore``: batches, as their jobs have left them."""

from typing import NamedTuple

from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import store_errors
from arqway.workers.store.facade import Facade


class BatchRecord(NamedTuple):
    """How a batch is."""

    id: str
    tenant: str
    created_ms: int
    total: int
    finished_ms: int | None
    version: int
    counts: dict[JobState, int]


class BatchStore(Facade):
    """The batches of one server; ``JobStore.submit`` makes them."""

    async def job_ids(self, batch_id: str) -> list[str]:
        """Return the ids of a batch's jobs, in its order."""
        with store_errors():
            return [job_id.decode() for job_id in await self.redis.zrange(keys.batch_jobs(batch_id), 0, -1)]

    async def read(self, batch_id: str) -> BatchRecord | None:
        """Return how a batch is. Atomic: one script."""
        found = await self._call("batch", [batch_id])
        if not found:
            return None
        tenant, created, total, finished, version, *counts = found
        states = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")
        by_state = {JobState(state): int(count) for state, count in zip(states, counts, strict=True)}
        ended = int(finished) if finished else None
        return BatchRecord(batch_id, tenant.decode(), int(created), int(total), ended, int(version), by_state)
