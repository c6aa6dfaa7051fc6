"""What a client of jobs can do: the HTTP service, scripts beside Redis, and jobs that submit jobs.

Read ``queue`` first: ``JobQueue`` submits, reads, waits, cancels and retries. Beside it ``Batches``, ``Listing``,
``DeadLetters``, ``Queues`` and ``EventFeed`` do what their names say.
"""

from workers.catalogue import BatchRecord
from workers.client.batches import AcceptedBatch, Batches, BatchItem
from workers.client.dead import DeadLetters
from workers.client.listing import JobFilter, Listing
from workers.client.opening import open_queue
from workers.client.queue import Accepted, JobQueue
from workers.client.queues import Queues
from workers.client.submission import SubmitOptions
from workers.entries import Idempotency

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
