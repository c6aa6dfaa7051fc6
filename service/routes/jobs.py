"""Jobs: listing them; reading one, its result, its attempts and why it is waiting; cancelling and retrying it.

Source of the conditions: RFC 9110, sections 8.8.3 and 13.1.
"""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Depends, Header, Path, Query
from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of, requires
from arqway.service.http.routing import (
    BODY_PROBLEMS,
    JobRoute,
    PreferHeader,
    RawRoute,
    applied,
    arqway_of,
    etag_of,
    job_answer,
    job_headers,
    json_answer,
    pace,
    path_of,
    read_json,
    wait_of,
)
from arqway.service.openapi.responses import ACCEPTED_HEADERS, JOB_HEADERS, Responses, answer, problems
from arqway.service.problems.errors import JobNotSucceeded
from arqway.service.shapes.jobs import EXAMPLE_ID, AttemptsView, JobList, JobSelection, JobView, ListQuery, WaitingView
from arqway.workers.client import JobFilter, Listing
from arqway.workers.client.queues import Reason, reasons_for
from arqway.workers.contract import errors, keys
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import JobChanged, JobNotFound, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import attempt_views, job_view, timestamp

raw = APIRouter(route_class=RawRoute, tags=["jobs"])
router = APIRouter(route_class=JobRoute, tags=["jobs"])

ID: dict[str, Any] = {"pattern": f"^{keys.JOB_ID.pattern}$"}
"""Documented but not validated: a malformed id is answered like an unknown one."""
JobIdPath = Annotated[
    str, Path(description="The job's id, as returned by the submission", examples=[EXAMPLE_ID], json_schema_extra=ID)
]
IfNoneMatchHeader = Annotated[
    str | None,
    Header(alias="If-None-Match", description="An ETag; 304 if it is still current", examples=['"3-19ca9b1b47d"']),
]
IfMatchHeader = Annotated[
    str | None, Header(alias="If-Match", description="An ETag; 412 if it is no longer current", examples=["*"])
]

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_READ_HEADERS = (*JOB_HEADERS, "Preference-Applied")
_PACED: Responses = {200: answer("The current state", "Retry-After"), **problems(JobNotFound, StoreUnavailable)}
_RETRY_PROBLEMS = (JobNotFound, errors.JobNotFinished, errors.JobRetried, errors.NotUnique, JobChanged)


async def existing_job(job_id: JobIdPath, request: Request) -> JobRecord:
    """Return the job that the path names. Raises JobNotFound, also if the job belongs to another tenant."""
    return await arqway_of(request).jobs.read(job_id, tenant=caller_of(request).tenant)


ExistingJob = Annotated[JobRecord, Depends(existing_job)]


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
    wait_s = wait_of(request)
    until_change = "if-none-match" in request.headers
    if wait_s is not None and not record.finished and (not until_change or _is_known(request, record)):
        record = await arqway_of(request).jobs.changed(record, timeout_s=wait_s, until_ended=not until_change)
    if _is_known(request, record):
        return Response(None, 304, {**job_headers(request, record), **applied(wait_s)})
    return job_answer(request, record, headers=applied(wait_s))


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
    view: dict[str, Any] = {"attempts": attempt_views(record, operator=caller_of(request).is_operator)}
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
        **problems(JobNotFound, errors.JobFinished, JobChanged, StoreUnavailable),
    },
    dependencies=[requires(Scope.SUBMIT)],
)
async def cancel_job(job_id: JobIdPath, request: Request, if_match: IfMatchHeader = None) -> Response:
    """Cancel the job. A waiting job is cancelled at once (200); a running one is asked to stop and ends later (202)."""
    version = await _version(request, job_id, if_match)
    record = await arqway_of(request).jobs.cancel(job_id, tenant=caller_of(request).tenant, version=version)
    return job_answer(request, record, 200 if record.finished else 202)


@router.post(
    "/jobs/{job_id}:retry",
    status_code=202,
    response_model=JobView,
    responses={
        202: answer("The new job", *ACCEPTED_HEADERS),
        **problems(*_RETRY_PROBLEMS, *BODY_PROBLEMS, errors.UnknownKind, StoreUnavailable),
    },
    dependencies=[requires(Scope.OPERATE)],
)
async def retry_job(
    job_id: JobIdPath,
    request: Request,
    payload: Annotated[JsonValue, Body(description="A new payload; without a body, the job's own is used")] = None,
    if_match: IfMatchHeader = None,
) -> Response:
    """Resubmit a finished job as a new job, with the same payload or a new one. The old job then refers to the new."""
    edited = await read_json(request, required=False) or None
    version = await _version(request, job_id, if_match)
    tenant = caller_of(request).tenant
    retried = await arqway_of(request).jobs.retry(job_id, payload_json=edited, tenant=tenant, version=version)
    await audit(request, "job.retry", job_id)
    return retried_job(request, retried)


@router.get(
    "/jobs",
    response_model=JobList,
    responses={
        200: answer("A page of jobs", "Link"),
        **problems(errors.InvalidCursor, RequestValidationError, StoreUnavailable),
    },
    dependencies=[requires(Scope.READ)],
)
async def list_jobs(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """List jobs, most recently accepted first. The `Link` header leads to the next page.

    While you page through the list, jobs may be added or deleted. A job that exists throughout is on exactly one page,
    unless a change of its own state moves it into or out of the filter.
    """
    caller = caller_of(request)
    listing = Listing(arqway_of(request).jobs, caller.tenant)
    page = await listing.page(job_filter(query, query.state), limit=query.limit, cursor=query.cursor)
    views = [job_view(record, operator=caller.is_operator) for record in page.jobs]
    return page_answer(request, "/jobs", {"jobs": views}, page.cursor)


def retried_job(request: Request, record: JobRecord) -> Response:
    """Return the response to a retry: always 202, even if the new job has finished already."""
    return job_answer(request, record, 202, {"Location": path_of(request, f"/jobs/{record.id}")})


def page_answer(request: Request, path: str, view: dict[str, Any], cursor: str | None) -> Response:
    """Return a page of the list at ``path`` and, unless it is the last, the way to the next. Source: RFC 8288."""
    if cursor is None:
        return json_answer(view)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    link = f'<{path_of(request, path)}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'
    return json_answer({**view, "next": cursor}, headers={"Link": link})


def job_filter(which: JobSelection, state: JobState | None = None) -> JobFilter:
    """Return the selection as the list takes it, with moments as Unix milliseconds."""
    parts = which.model_dump(include={"kind", "queue", "tag", "batch", "fingerprint"})
    moments = (which.created_from, which.created_to)
    from_ms, to_ms = (None if moment is None else int(moment.timestamp() * 1000) for moment in moments)
    return JobFilter(**parts, state=state, from_ms=from_ms, to_ms=to_ms)


def _is_known(request: Request, record: JobRecord) -> bool:
    """Return whether If-None-Match names the current version, in which case the response is a 304."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    etag = etag_of(request, record)
    return given == etag or given.strip() == "*" or etag in _TAG.findall(given)


async def _version(request: Request, job_id: str, if_match: str | None) -> int | None:
    """Return the job version that ``If-Match`` names, never by a weak tag; None if any will do.

    Raises JobNotFound or JobChanged.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    record = await existing_job(job_id, request)
    if etag_of(request, record) not in {tag.strip() for tag in if_match.split(",")}:
        raise JobChanged
    return record.version


def _reason_view(reason: Reason) -> dict[str, Any]:
    view: dict[str, Any] = {"code": reason.code, "message": reason.message}
    if reason.until_ms is not None:
        view["until"] = timestamp(reason.until_ms)
    if reason.position is not None:
        view["position"] = reason.position
    if reason.estimate_s is not None:
        view["estimate_s"] = round(reason.estimate_s, 1)
    return view
