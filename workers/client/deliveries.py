"""Webhook deliveries of a job: the jobs that sent its outcome to the callback URL, each a retry of the one before."""

from arqway.workers.client.queue import JobQueue
from arqway.workers.contract.record import JobRecord


async def deliveries_of(record: JobRecord, queue: JobQueue) -> list[JobRecord]:
    """Return the deliveries of a job, oldest first; empty if it has no callback or has not ended."""
    found: list[JobRecord] = []
    next_id: str | None = f"{record.id}.webhook"
    while next_id is not None and (known := await queue.read_many([next_id])):
        found += known
        next_id = known[0].retried_as
    return found
