"""Jobs of every kind: one typed route a kind to submit them, and those to read, cancel and retry one."""

from enum import Enum
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of
from arqway.service.dependencies import ExistingJob, JobIdPath, existing_job, queue_of, queues_of
from arqway.service.http.answers import (
    PreferHeader,
    applied,
    etag_of,
    expected_version,
    fresh_job_answer,
    is_known,
    job_answer,
    json_answer,
    pace,
    path_of,
    wait_of,
)
from arqway.service.http.submission import RawRoute, read_optional_json, submit_endpoint
from arqway.service.openapi.responses import (
    ACCEPTED_HEADERS,
    JOB_HEADERS,
    SUBMITTED_HEADERS,
    Responses,
    answer,
    job_links,
    problems,
)
from arqway.service.problems.errors import (
    BodyTooLarge,
    InvalidIdempotencyKey,
    JobNotSucceeded,
    NotJson,
    UnsupportedMediaType,
)
from arqway.service.shapes.jobs import AttemptsView, JobView, WaitingView, typed_job_view, view_names
from arqway.workers.client.waiting import Reason, reasons_for
from arqway.workers.contract.errors import (
    CallbacksOff,
    IdempotencyHeld,
    IdempotencyMismatch,
    InvalidPayload,
    InvalidSubmission,
    JobChanged,
    JobFinished,
    JobNotFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
    QueueFull,
    QueueNotAllowed,
    StoreUnavailable,
    UnknownKind,
)
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import attempt_views, timestamp
from arqway.workers.definition import JobDefinition
from arqway.workers.registry import Registry

SUBMIT_PROBLEMS = (
    NotJson,
    InvalidIdempotencyKey,
    NotUnique,
    IdempotencyHeld,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidPayload,
    InvalidSubmission,
    QueueNotAllowed,
    CallbacksOff,
    IdempotencyMismatch,
    QueueFull,
    StoreUnavailable,
)
_TAGS: list[str | Enum] = ["jobs"]

IfNoneMatchHeader = Annotated[
    str | None,
    Header(alias="If-None-Match", description="An ETag: 304 while it is current", examples=['"3-19ca9b1b47d"']),
]
IfMatchHeader = Annotated[
    str | None, Header(alias="If-Match", description="An ETag: 412 if it is not current", examples=["*"])
]


def add_job_routes(router: APIRouter, registry: Registry) -> None:
    """Add the routes for these kinds of job."""
    names = view_names(registry)
    read_headers = (*JOB_HEADERS, "Preference-Applied")
    seen: Responses = {
        200: answer("The job", *read_headers),
        304: answer("It is as `If-None-Match` says", *read_headers),
    }
    _add_read(router, "/jobs/{job_id}", read_job, JobView, JobNotFound, more=seen, route_class_override=RawRoute)
    for job in registry.values():
        _add_submission(router, job, names[job.kind])
    _add_read(router, "/jobs/{job_id}/result", read_result, Any, JobNotFound, JobNotSucceeded)
    paced: Responses = {200: answer("As it is now", "Retry-After")}
    _add_read(router, "/jobs/{job_id}/attempts", read_attempts, AttemptsView, JobNotFound, more=paced)
    _add_read(router, "/jobs/{job_id}/waiting", read_waiting, WaitingView, JobNotFound, more=paced)
    router.add_api_route(
        "/jobs/{job_id}:cancel",
        cancel_job,
        methods=["POST"],
        tags=_TAGS,
        operation_id="cancel_job",
        response_model=JobView,
        responses={
            200: answer("It is cancelled", *JOB_HEADERS),
            202: answer("It runs, and was told to end", *JOB_HEADERS, model=JobView),
            **problems(JobNotFound, JobFinished, JobChanged, StoreUnavailable),
        },
    )
    retry_problems = (JobNotFound, JobNotFinished, JobRetried, NotUnique, JobChanged, InvalidPayload, UnknownKind)
    router.add_api_route(
        "/jobs/{job_id}:retry",
        retry_job,
        methods=["POST"],
        tags=_TAGS,
        status_code=202,
        operation_id="retry_job",
        response_model=JobView,
        responses={
            202: answer("The new job", *ACCEPTED_HEADERS, links=job_links()),
            **problems(*retry_problems, UnsupportedMediaType, NotJson, BodyTooLarge, StoreUnavailable),
        },
        route_class_override=RawRoute,
    )
    router.add_api_route("/jobs/{kind}", refuse_kind, methods=["POST"], include_in_schema=False)


async def read_job(
    request: Request, job_id: JobIdPath, if_none_match: IfNoneMatchHeader = None, prefer: PreferHeader = None
) -> Response:
    """Return the job's state and progress and, once it has finished, its result or failure; a failed job is a 200.

    With `Prefer: wait=N` the answer comes when the job has changed from what `If-None-Match` names or, without that,
    when it has ended; after N seconds at the latest.
    """
    record = await existing_job(request.path_params["job_id"], request)
    if (wait_s := wait_of(request)) is not None:
        record = await _awaited(request, record, wait_s)
    return fresh_job_answer(request, record, applied(wait_s))


async def read_result(record: ExistingJob, request: Request) -> Response:
    """Return the result alone; a problem while there is none, and where there will be none."""
    if record.state is not JobState.SUCCEEDED or record.result_json is None:
        raise JobNotSucceeded(f"The job is {record.state}.")
    return Response(record.result_json, media_type="application/json")


async def read_attempts(record: ExistingJob, request: Request) -> Response:
    """Return the attempts with their times, how each ended, and when the next one is due."""
    operator = caller_of(request).is_operator
    view: dict[str, Any] = {"attempts": attempt_views(record, operator=operator)}
    if record.next_retry_ms is not None:
        view["next_retry_at"] = timestamp(record.next_retry_ms)
    return json_answer(view, headers=pace(request, record))


async def read_waiting(record: ExistingJob, request: Request) -> Response:
    """Tell why the job is waiting."""
    reasons = await reasons_for(record, queues_of(request))
    view = {"waiting": bool(reasons), "reasons": [_reason_view(reason) for reason in reasons]}
    return json_answer(view, headers=pace(request, record))


async def cancel_job(record: ExistingJob, request: Request, if_match: IfMatchHeader = None) -> Response:
    """Cancel the job: at once (200) while it waits; a running one is told to end, and has ended later (202)."""
    version = expected_version(record, request)
    record = await queue_of(request).cancel(record.id, tenant=record.tenant, version=version)
    return job_answer(request, record, 200 if record.finished else 202)


async def retry_job(
    request: Request,
    job_id: JobIdPath,
    payload: Annotated[JsonValue, Body(description="Another payload; without a body, the job's own")] = None,
    if_match: IfMatchHeader = None,
) -> Response:
    """Submit a finished job again, as a new job with the same payload or another. The old one names it from then on."""
    record = await existing_job(request.path_params["job_id"], request)
    edited = await read_optional_json(request)
    version = expected_version(record, request)
    retried = await queue_of(request).retry(record.id, payload_json=edited, tenant=record.tenant, version=version)
    await audit(request, "job.retry", record.id)
    return retried_job(request, retried)


async def refuse_kind(kind: str) -> Response:
    """Answer for a kind that nobody registered."""
    raise UnknownKind


def accepted_job(request: Request, record: JobRecord, headers: dict[str, str]) -> Response:
    """Return the answer to a submission: 202, or 200 for a job that has ended already."""
    return _located(request, record, 200 if record.finished else 202, headers)


def retried_job(request: Request, record: JobRecord) -> Response:
    """Return the answer to a retry: 202, also if the new job was so fast that it has ended already."""
    return _located(request, record, 202, {})


def _located(request: Request, record: JobRecord, status: int, headers: dict[str, str]) -> Response:
    location = {"Location": path_of(request, f"/jobs/{record.id}")}
    return job_answer(request, record, status, {**location, **headers})


async def _awaited(request: Request, record: JobRecord, wait_s: int) -> JobRecord:
    if record.finished or ("if-none-match" in request.headers and not _is_current(request, record)):
        return record
    until_change = "if-none-match" in request.headers
    return await queue_of(request).changed(record, timeout_s=wait_s, until_ended=not until_change)


def _is_current(request: Request, record: JobRecord) -> bool:
    return is_known(etag_of(record, request), request)


def _reason_view(reason: Reason) -> dict[str, Any]:
    view: dict[str, Any] = {"code": reason.code, "message": reason.message}
    if reason.until_ms is not None:
        view["until"] = timestamp(reason.until_ms)
    if reason.position is not None:
        view["position"] = reason.position
    if reason.estimate_s is not None:
        view["estimate_s"] = round(reason.estimate_s, 1)
    return view


def _add_read(
    router: APIRouter,
    path: str,
    endpoint: Any,
    model: Any,
    *refusals: type[Exception],
    more: Responses | None = None,
    **options: Any,
) -> None:
    router.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        tags=_TAGS,
        operation_id=endpoint.__name__,
        response_model=model,
        responses={200: answer("As it is now"), **(more or {}), **problems(*refusals, StoreUnavailable)},
        **options,
    )


def _add_submission(router: APIRouter, job: JobDefinition[Any, Any], view_name: str) -> None:
    view = typed_job_view(job, view_name)
    router.add_api_route(
        f"/jobs/{job.kind}",
        submit_endpoint(job, accepted_job),
        methods=["POST"],
        tags=_TAGS,
        status_code=202,
        summary=job.summary or f"Submit {job.kind}",
        description="Accept the job and return at once. An accepted job is not lost.",
        operation_id=f"submit_{view_name}",
        response_model=view,
        responses={
            202: answer("It is accepted", *SUBMITTED_HEADERS, links=job_links()),
            200: answer(
                "It has ended within the time that `Prefer: wait` gave it",
                *SUBMITTED_HEADERS,
                model=view,
                links=job_links(),
            ),
            **problems(*SUBMIT_PROBLEMS),
        },
        route_class_override=RawRoute,
    )
