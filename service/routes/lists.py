"""The list of the caller's jobs, latest first, in pages."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of, requires
from arqway.service.dependencies import listing_of
from arqway.service.http.answers import json_answer, next_link
from arqway.service.http.routing import JobRoute
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.jobs import JobList, JobSelection, ListQuery
from arqway.workers.client import JobFilter
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
    page = await listing_of(request).page(job_filter(query, query.state), limit=query.limit, cursor=query.cursor)
    operator = caller_of(request).is_operator
    view: dict[str, object] = {"jobs": [job_view(record, operator=operator) for record in page.jobs]}
    if page.cursor is None:
        return json_answer(view)
    return json_answer({**view, "next": page.cursor}, headers=next_link(request, "/jobs", page.cursor))


def job_filter(which: JobSelection, state: JobState | None = None) -> JobFilter:
    """Return the selection as the list takes it, with moments as Unix milliseconds."""
    parts = which.model_dump(include={"kind", "queue", "tag", "batch", "fingerprint"})
    from_ms, to_ms = map(_unix_ms, (which.created_from, which.created_to))
    return JobFilter(**parts, state=state, from_ms=from_ms, to_ms=to_ms)


def _unix_ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
