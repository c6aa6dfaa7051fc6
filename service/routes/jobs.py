"""Jobs of every kind: one typed route a kind to submit them, and one to read and one to cancel them."""

from enum import Enum
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.answers import json_answer, pace
from service.dependencies import ExistingJob, JobIdPath, queue_of
from service.errors import BodyTooLarge, NotJson, UnsupportedMediaType
from service.openapi import problems
from service.schemas import JobView, job_view
from service.submission import RawBodyRoute, path_of, submit_endpoint
from workers.contract.errors import InvalidPayload, JobFinished, JobNotFound, StoreUnavailable, UnknownKind
from workers.contract.record import JobRecord
from workers.definition import JobDefinition, Registry

SUBMIT_PROBLEMS = (NotJson, BodyTooLarge, UnsupportedMediaType, InvalidPayload, StoreUnavailable)
_TAGS: list[str | Enum] = ["jobs"]


def add_job_routes(router: APIRouter, registry: Registry) -> None:
    """Add the routes for these kinds of job."""
    router.add_api_route(
        "/jobs/{job_id}",
        read_job,
        methods=["GET"],
        tags=_TAGS,
        operation_id="read_job",
        response_model=JobView,
        responses=problems(JobNotFound, StoreUnavailable),
    )
    router.add_api_route(
        "/jobs/{job_id}:cancel",
        cancel_job,
        methods=["POST"],
        tags=_TAGS,
        operation_id="cancel_job",
        response_model=JobView,
        responses={
            202: {"model": JobView, "description": "It runs, and was told to end"},
            **problems(JobNotFound, JobFinished, StoreUnavailable),
        },
    )
    for job in registry.values():
        _add_submission(router, job)
    router.add_api_route("/jobs/{kind}", refuse_kind, methods=["POST"], include_in_schema=False)


async def read_job(record: ExistingJob) -> Response:
    """Return the job's state and progress and, once it has finished, its result or failure; a failed job is a 200."""
    return json_answer(job_view(record), headers=pace(record))


async def cancel_job(job_id: JobIdPath, request: Request) -> Response:
    """Cancel the job: at once (200) while it waits; a running one is told to end, and has ended later (202)."""
    record = await queue_of(request).cancel(job_id)
    return json_answer(job_view(record), 200 if record.finished else 202, pace(record))


async def refuse_kind(kind: str) -> Response:
    """Answer for a kind that nobody registered."""
    raise UnknownKind


def _add_submission(router: APIRouter, job: JobDefinition[Any, Any]) -> None:
    router.add_api_route(
        f"/jobs/{job.kind}",
        submit_endpoint(job, _accepted),
        methods=["POST"],
        tags=_TAGS,
        status_code=202,
        summary=job.summary or f"Submit {job.kind}",
        description="Accept the job and return at once. An accepted job is not lost.",
        operation_id=f"submit_{job.kind}",
        response_model=JobView,
        responses=problems(*SUBMIT_PROBLEMS),
        route_class_override=RawBodyRoute,
    )


def _accepted(request: Request, record: JobRecord) -> Response:
    location = path_of(request, f"/jobs/{record.id}")
    return json_answer(job_view(record), 202, {"Location": location, **pace(record)})
