"""What a client of jobs can do: the HTTP service, scripts beside Redis, and jobs that submit jobs.

Read ``queue`` first: ``JobQueue`` submits, reads, waits, cancels and retries. Beside it ``Batches``, ``Listing``,
``DeadLetters``, ``Queues`` and ``EventFeed`` do what their names say.
"""

from arqway.workers.client.batches import AcceptedBatch, Batches, BatchItem
from arqway.workers.client.dead import DeadLetters
from arqway.workers.client.listing import JobFilter, Listing
from arqway.workers.client.opening import open_queue
from arqway.workers.client.queue import Accepted, JobQueue
from arqway.workers.client.queues import Queues
from arqway.workers.client.submission import SubmitOptions
from arqway.workers.store.batches import BatchRecord
from arqway.workers.store.entries import Idempotency

__all__ = [
    "Accepted",
    "AcceptedBatch",
    "BatchItem",
    "BatchRecord",
    "Batches",
    "DeadLetters",
    "Idempotency",
    "JobFilter",
    "JobQueue",
    "Listing",
    "Queues",
    "SubmitOptions",
    "open_queue",
]
