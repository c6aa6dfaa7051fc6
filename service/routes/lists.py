"""The list of the caller's jobs, latest first, in pages."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of, requires
from arqway.service.http.routing import JobRoute, arqway_of, json_answer, path_of
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.jobs import JobList, JobSelection, ListQuery
from arqway.workers.client import JobFilter, Listing
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import InvalidCursor, StoreUnavailable
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view

router = APIRouter(route_class=JobRoute, tags=["jobs"])


@router.get(
    "/jobs",
    response_model=JobList,
    responses={
        200: answer("A page of jobs", "Link"),
        **problems(InvalidCursor, RequestValidationError, StoreUnavailable),
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
