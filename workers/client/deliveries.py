"""Deliveries of a job's end: the jobs that told it to the callback URL, each the retry of the one before."""

from arqway.workers.client.queue import JobQueue
from arqway.workers.contract.record import JobRecord


async def deliveries_of(record: JobRecord, queue: JobQueue) -> list[JobRecord]:
    """Return them, the first one first; none for a job without a callback, and none before its end."""
    found: list[JobRecord] = []
    next_id: str | None = f"{record.id}.webhook"
    while next_id is not None and (known := await queue.read_many([next_id])):
        found += known
        next_id = known[0].retried_as
    return found
