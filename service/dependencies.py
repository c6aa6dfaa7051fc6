"""Dependencies of the routes: the ``Arqway`` that serves them, its job store clients, and the job in a path."""

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from arqway.service.access.callers import caller_of
from arqway.service.shapes.jobs import EXAMPLE_BATCH_ID, EXAMPLE_ID
from arqway.workers.client import Batches, DeadLetters, JobQueue, Listing
from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord

if TYPE_CHECKING:
    from arqway.service.arqway import Arqway

_ID = {"pattern": f"^{keys.JOB_ID.pattern}$"}
"""Documented but not validated: a malformed id is answered like an unknown one."""
JobIdPath = Annotated[
    str,
    Path(description="The job's id, as returned by the submission", examples=[EXAMPLE_ID], json_schema_extra={**_ID}),
]
BatchIdPath = Annotated[
    str,
    Path(
        description="The batch's id, as returned by the submission",
        examples=[EXAMPLE_BATCH_ID],
        json_schema_extra={**_ID},
    ),
]


def arqway_of(request: Request) -> "Arqway":
    """Return the ``Arqway`` that serves the request."""
    arqway: Arqway = request.scope["arqway"].arqway
    return arqway


def queue_of(request: Request) -> JobQueue:
    """Return the client that submits and reads jobs."""
    return arqway_of(request).jobs


def listing_of(request: Request) -> Listing:
    """Return the listing of the caller's jobs."""
    return Listing(queue_of(request), caller_of(request).tenant)


def batches_of(request: Request) -> Batches:
    """Return the caller's batches."""
    return Batches(queue_of(request), caller_of(request).tenant)


def dead_letters_of(request: Request) -> DeadLetters:
    """Return the caller's dead letters."""
    return DeadLetters(queue_of(request), caller_of(request).tenant)


async def existing_job(job_id: JobIdPath, request: Request) -> JobRecord:
    """Return the job that the path names. Raises JobNotFound, also if the job belongs to another tenant."""
    return await queue_of(request).read(job_id, tenant=caller_of(request).tenant)


ExistingJob = Annotated[JobRecord, Depends(existing_job)]
