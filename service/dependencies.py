"""What routes ask for: the queue, and the job that a path names."""

from typing import Annotated, cast

from fastapi import Depends, Path
from starlette.requests import Request

from workers.client import JobQueue
from workers.contract.record import JobRecord

JobIdPath = Annotated[str, Path(description="The job's id, as the submission's answer gave it")]


def queue_of(request: Request) -> JobQueue:
    """Return the application's queue."""
    return cast(JobQueue, request.app.state.queue)


async def existing_job(job_id: JobIdPath, request: Request) -> JobRecord:
    """Return the job that the path names. Raises JobNotFound."""
    return await queue_of(request).read(job_id)


ExistingJob = Annotated[JobRecord, Depends(existing_job)]
