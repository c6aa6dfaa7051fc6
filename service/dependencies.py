"""What routes ask for: the clients of the job store, and the job that a path names."""

from typing import Annotated, cast

from fastapi import Depends, Path
from starlette.requests import Request

from arqway.service.access.callers import caller_of
from arqway.service.shapes.jobs import EXAMPLE_BATCH_ID, EXAMPLE_ID
from arqway.workers.client import Batches, DeadLetters, JobQueue, Listing, Queues
from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord

_ID = {"pattern": f"^{keys.JOB_ID.pattern}$"}
"""Told, not checked: a job that cannot be is answered as one that is not there."""
JobIdPath = Annotated[
    str,
    Path(
        description="The job's id, as the submission's answer gave it", examples=[EXAMPLE_ID], json_schema_extra={**_ID}
    ),
]
BatchIdPath = Annotated[
    str,
    Path(
        description="The batch's id, as the submission's answer gave it",
        examples=[EXAMPLE_BATCH_ID],
        json_schema_extra={**_ID},
    ),
]


def queue_of(request: Request) -> JobQueue:
    """Return the application's queue."""
    return cast(JobQueue, request.app.state.queue)


def queues_of(request: Request) -> Queues:
    """Return the application's figures of its queues."""
    return cast(Queues, request.app.state.queues)


def listing_of(request: Request) -> Listing:
    """Return the lists of the caller's jobs."""
    return Listing(queue_of(request), caller_of(request).tenant)


def batches_of(request: Request) -> Batches:
    """Return the caller's batches."""
    return Batches(queue_of(request), caller_of(request).tenant)


def dead_letters_of(request: Request) -> DeadLetters:
    """Return the caller's dead letters."""
    return DeadLetters(queue_of(request), caller_of(request).tenant)


async def existing_job(job_id: JobIdPath, request: Request) -> JobRecord:
    """Return the job that the path names. Raises JobNotFound, also for a job of another tenant than the caller's."""
    return await queue_of(request).read(job_id, tenant=caller_of(request).tenant)


ExistingJob = Annotated[JobRecord, Depends(existing_job)]
