"""What a cancelled job leaves for stock arq clients."""

from time import time

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.record import JobRecord


def cancelled_result(record: JobRecord) -> bytes:
    """Return what they read of a job that was cancelled while it waited."""
    ended_ms = int(time() * 1000)
    return envelope.write_result(
        job_id=record.id,
        kind=record.kind,
        queue=keys.queue(record.queue),
        attempt=record.attempt,
        success=False,
        value_json=envelope.CANCELLED_JSON,
        created_ms=record.created_ms,
        started_ms=record.started_ms or ended_ms,
        ended_ms=ended_ms,
    )
