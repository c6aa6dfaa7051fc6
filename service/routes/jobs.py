"""One job: reading it, its result, its attempts and why it is waiting; cancelling and retrying it."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of, requires
from arqway.service.dependencies import ExistingJob, JobIdPath, arqway_of, existing_job, queue_of
from arqway.service.http.answers import (
    IfMatchHeader,
    IfNoneMatchHeader,
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
from arqway.service.http.bodies import read_json
from arqway.service.http.routing import JobRoute, RawRoute
from arqway.service.openapi.responses import ACCEPTED_HEADERS, JOB_HEADERS, Responses, answer, problems
from arqway.service.problems.errors import BodyTooLarge, JobNotSucceeded, NotJson, UnsupportedMediaType
from arqway.service.shapes.jobs import AttemptsView, JobView, WaitingView
from arqway.workers.client.queues import Reason, reasons_for
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import (
    InvalidPayload,
    JobChanged,
    JobFinished,
    JobNotFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
    StoreUnavailable,
    UnknownKind,
)
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import attempt_views, timestamp

raw = APIRouter(route_class=RawRoute, tags=["jobs"])
router = APIRouter(route_class=JobRoute, tags=["jobs"])

_READ_HEADERS = (*JOB_HEADERS, "Preference-Applied")
_PACED: Responses = {200: answer("The current state", "Retry-After"), **problems(JobNotFound, StoreUnavailable)}
_RETRY_PROBLEMS = (
    JobNotFound,
    JobNotFinished,
    JobRetried,
    NotUnique,
    JobChanged,
    InvalidPayload,
    UnknownKind,
    UnsupportedMediaType,
    NotJson,
    BodyTooLarge,
    StoreUnavailable,
)


@raw.get(
    "/jobs/{job_id}",
    response_model=JobView,
    responses={
        200: answer("The job", *_READ_HEADERS),
        304: answer("The job still matches `If-None-Match`", *_READ_HEADERS),
        **problems(JobNotFound, StoreUnavailable),
    },
    dependencies=[requires(Scope.READ)],
)
async def read_job(
    request: Request, job_id: JobIdPath, if_none_match: IfNoneMatchHeader = None, prefer: PreferHeader = None
) -> Response:
    """Return the job's state and progress and, once it has finished, its result or failure. A failed job is a 200, too.

    With `Prefer: wait=N`, the response is sent once the job no longer matches `If-None-Match` or, without that header,
    once it has finished; after N seconds at the latest.
    """
    record = await existing_job(request.path_params["job_id"], request)
    if (wait_s := wait_of(request)) is not None:
        record = await _awaited(request, record, wait_s)
    return fresh_job_answer(request, record, applied(wait_s))


@router.get(
    "/jobs/{job_id}/result",
    response_model=Any,
    responses={200: answer("The result"), **problems(JobNotFound, JobNotSucceeded, StoreUnavailable)},
    dependencies=[requires(Scope.READ)],
)
async def read_result(record: ExistingJob) -> Response:
    """Return only the result of the job. The response is a problem if the job has not succeeded."""
    if record.state is not JobState.SUCCEEDED or record.result_json is None:
        raise JobNotSucceeded(f"The job is {record.state}.")
    return Response(record.result_json, media_type="application/json")


@router.get(
    "/jobs/{job_id}/attempts", response_model=AttemptsView, responses=_PACED, dependencies=[requires(Scope.READ)]
)
async def read_attempts(record: ExistingJob, request: Request) -> Response:
    """Return the attempts with their times and outcomes, and when the next one is due."""
    operator = caller_of(request).is_operator
    view: dict[str, Any] = {"attempts": attempt_views(record, operator=operator)}
    if record.next_retry_ms is not None:
        view["next_retry_at"] = timestamp(record.next_retry_ms)
    return json_answer(view, headers=pace(request, record))


@router.get("/jobs/{job_id}/waiting", response_model=WaitingView, responses=_PACED, dependencies=[requires(Scope.READ)])
async def read_waiting(record: ExistingJob, request: Request) -> Response:
    """Explain why the job is waiting."""
    reasons = await reasons_for(record, arqway_of(request).queues)
    view = {"waiting": bool(reasons), "reasons": [_reason_view(reason) for reason in reasons]}
    return json_answer(view, headers=pace(request, record))


@router.post(
    "/jobs/{job_id}:cancel",
    response_model=JobView,
    responses={
        200: answer("The job is cancelled", *JOB_HEADERS),
        202: answer("The job is running, and was asked to stop", *JOB_HEADERS, model=JobView),
        **problems(JobNotFound, JobFinished, JobChanged, StoreUnavailable),
    },
    dependencies=[requires(Scope.SUBMIT)],
)
async def cancel_job(job_id: JobIdPath, request: Request, if_match: IfMatchHeader = None) -> Response:
    """Cancel the job. A waiting job is cancelled at once (200); a running one is asked to stop and ends later (202)."""
    version = await _version(request, job_id, if_match)
    record = await queue_of(request).cancel(job_id, tenant=caller_of(request).tenant, version=version)
    return job_answer(request, record, 200 if record.finished else 202)


@router.post(
    "/jobs/{job_id}:retry",
    status_code=202,
    response_model=JobView,
    responses={202: answer("The new job", *ACCEPTED_HEADERS), **problems(*_RETRY_PROBLEMS)},
    dependencies=[requires(Scope.OPERATE)],
)
async def retry_job(
    job_id: JobIdPath,
    request: Request,
    payload: Annotated[JsonValue, Body(description="A new payload; without a body, the job's own is used")] = None,
    if_match: IfMatchHeader = None,
) -> Response:
    """Resubmit a finished job as a new job, with the same payload or a new one. The old job then refers to the new."""
    edited = await read_json(request, required=False)
    version = await _version(request, job_id, if_match)
    tenant = caller_of(request).tenant
    retried = await queue_of(request).retry(job_id, payload_json=edited or None, tenant=tenant, version=version)
    await audit(request, "job.retry", job_id)
    return retried_job(request, retried)


def retried_job(request: Request, record: JobRecord) -> Response:
    """Return the response to a retry: always 202, even if the new job has finished already."""
    return job_answer(request, record, 202, {"Location": path_of(request, f"/jobs/{record.id}")})


async def _version(request: Request, job_id: str, if_match: str | None) -> int | None:
    """Return the job version that ``If-Match`` names; None if any will do. Raises JobNotFound or JobChanged."""
    if if_match is None or if_match.strip() == "*":
        return None
    return expected_version(await existing_job(job_id, request), request, if_match)


async def _awaited(request: Request, record: JobRecord, wait_s: int) -> JobRecord:
    until_change = "if-none-match" in request.headers
    if record.finished or (until_change and not is_known(etag_of(record, request), request)):
        return record
    return await queue_of(request).changed(record, timeout_s=wait_s, until_ended=not until_change)


def _reason_view(reason: Reason) -> dict[str, Any]:
    view: dict[str, Any] = {"code": reason.code, "message": reason.message}
    if reason.until_ms is not None:
        view["until"] = timestamp(reason.until_ms)
    if reason.position is not None:
        view["position"] = reason.position
    if reason.estimate_s is not None:
        view["estimate_s"] = round(reason.estimate_s, 1)
    return view
