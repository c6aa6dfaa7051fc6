"""The client API, for programs that reach Redis: the HTTP service, scripts, other web apps, and jobs that submit jobs.

Read ``queue`` first: ``JobQueue`` submits, reads, waits for, cancels and retries jobs; ``SyncJobQueue`` does the same
for code without an event loop. ``Batches``, ``Listing``, ``DeadLetters``, ``Queues`` and ``EventFeed`` each do what
they name.
"""

from arqway.workers.client.after_commit import PendingJob
from arqway.workers.client.batches import AcceptedBatch, Batches, BatchItem
from arqway.workers.client.lists import DeadLetters, JobFilter, Listing
from arqway.workers.client.queue import JobQueue, open_queue
from arqway.workers.client.queues import Queues
from arqway.workers.client.submission import Accepted, SubmitOptions
from arqway.workers.client.sync import SyncJobQueue
from arqway.workers.store.jobs import Idempotency
from arqway.workers.store.lists import BatchRecord

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
    "PendingJob",
    "Queues",
    "SubmitOptions",
    "SyncJobQueue",
    "open_queue",
]
