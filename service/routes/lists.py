"""The list of the caller's jobs, latest first, in pages."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of, requires
from arqway.service.dependencies import listing_of
from arqway.service.http.answers import json_answer, next_link
from arqway.service.http.routing import JobRoute
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.jobs import JobList
from arqway.service.shapes.moments import Moment
from arqway.workers.client import JobFilter
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import InvalidCursor, StoreUnavailable
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view

router = APIRouter(route_class=JobRoute, tags=["jobs"])


class ListQuery(BaseModel):
    """The filters of a list. A job must match all that are given."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = Field(default=None, description="The current state")
    kind: str | None = Field(default=None, max_length=200, description="The kind of job", examples=["report.generate"])
    queue: str | None = Field(default=None, max_length=200, description="The queue that the job is or was in")
    tag: str | None = Field(default=None, max_length=128, description="One of the job's tags", examples=["march"])
    batch: str | None = Field(default=None, max_length=128, description="The id of the job's batch")
    fingerprint: str | None = Field(
        default=None, max_length=64, description="The fingerprint of the failure; sorts by its time, latest first"
    )
    created_from: Moment | None = Field(default=None, description="Accepted at this time or later")
    created_to: Moment | None = Field(default=None, description="Accepted at this time or earlier")
    limit: int = Field(default=50, ge=1, le=200, description="Maximum number of jobs per page")
    cursor: str | None = Field(default=None, max_length=1000, description="`next` of the previous page")

    def job_filter(self) -> JobFilter:
        """Return the filters as a ``JobFilter``."""
        parts = self.model_dump(include={"state", "kind", "queue", "tag", "batch", "fingerprint"})
        return JobFilter(**parts, from_ms=moment_ms(self.created_from), to_ms=moment_ms(self.created_to))


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
    page = await listing_of(request).page(query.job_filter(), limit=query.limit, cursor=query.cursor)
    operator = caller_of(request).is_operator
    view: dict[str, object] = {"jobs": [job_view(record, operator=operator) for record in page.jobs]}
    if page.cursor is None:
        return json_answer(view)
    return json_answer({**view, "next": page.cursor}, headers=next_link(request, "/jobs", page.cursor))


def moment_ms(moment: datetime | None) -> int | None:
    """Convert to Unix milliseconds."""
    return None if moment is None else int(moment.timestamp() * 1000)
