"""Lists of jobs: the caller's, latest first, page after page."""

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
from arqway.service.shapes.jobs import JobList, Moment
from arqway.workers.client import JobFilter
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import InvalidCursor, StoreUnavailable
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view

router = APIRouter(route_class=JobRoute, tags=["jobs"])


class ListQuery(BaseModel):
    """Which jobs: those for which every part that is given holds."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = Field(None, description="Their state now")
    kind: str | None = Field(None, max_length=200, description="Their kind", examples=["report.generate"])
    queue: str | None = Field(None, max_length=200, description="The queue that they are in, or were in")
    tag: str | None = Field(None, max_length=128, description="One of their tags", examples=["march"])
    batch: str | None = Field(None, max_length=128, description="The id of their batch")
    fingerprint: str | None = Field(None, max_length=64, description="Of the failure; the last to fail comes first")
    created_from: Moment | None = Field(None, description="Accepted at this moment or later")
    created_to: Moment | None = Field(None, description="Accepted at this moment or earlier")
    limit: int = Field(50, ge=1, le=200, description="Jobs on a page, at most")
    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before")

    def job_filter(self) -> JobFilter:
        """Return it as the list takes it."""
        parts = self.model_dump(include={"state", "kind", "queue", "tag", "batch", "fingerprint"})
        return JobFilter(**parts, from_ms=moment_ms(self.created_from), to_ms=moment_ms(self.created_to))


@router.get(
    "/jobs",
    response_model=JobList,
    responses={
        200: answer("A page", "Link"),
        **problems(InvalidCursor, RequestValidationError, StoreUnavailable),
    },
    dependencies=[requires(Scope.READ)],
)
async def list_jobs(request: Request, query: Annotated[ListQuery, Query()]) -> Response:
    """List jobs, the one that was accepted last first. The header `Link` leads to the next page.

    A job that is there all the time is on exactly one page, whatever comes and goes meanwhile, unless its own state
    moves it into or out of the filter.
    """
    page = await listing_of(request).page(query.job_filter(), limit=query.limit, cursor=query.cursor)
    operator = caller_of(request).is_operator
    view: dict[str, object] = {"jobs": [job_view(record, operator=operator) for record in page.jobs]}
    if page.cursor is None:
        return json_answer(view)
    return json_answer({**view, "next": page.cursor}, headers=next_link(request, "/jobs", page.cursor))


def moment_ms(moment: datetime | None) -> int | None:
    """Return Unix milliseconds."""
    return None if moment is None else int(moment.timestamp() * 1000)
