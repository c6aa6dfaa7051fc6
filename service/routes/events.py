"""Live updates as server-sent events: for one job, for one batch, or for all jobs of the caller."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.admission import still_admitted
from arqway.service.access.callers import caller_of, requires
from arqway.service.dependencies import BatchIdPath, JobIdPath, arqway_of, batches_of, queue_of
from arqway.service.http.routing import JobRoute
from arqway.service.openapi.responses import EVENT_STREAM, Responses, answer, problems
from arqway.service.problems.errors import InvalidEventId, TooManyStreams
from arqway.service.routes.batches import view_of
from arqway.service.sse.feeds import BatchState, batch_frames, tenant_frames
from arqway.service.sse.jobs import job_frames
from arqway.service.sse.resumption import (
    FeedPlaceHeader,
    FeedPlaceQuery,
    JobEventHeader,
    JobEventQuery,
    feed_place,
    job_event_id,
)
from arqway.service.sse.stream import EventStream
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import BatchNotFound, JobNotFound, StoreUnavailable
from arqway.workers.contract.events import EVENT_NAMES

router = APIRouter(route_class=JobRoute, tags=["events"], dependencies=[requires(Scope.READ)])

_PROBLEMS = (InvalidEventId, TooManyStreams, StoreUnavailable)
_OPEN: Responses = {200: answer("The events, for as long as the stream is open", content=EVENT_STREAM)}
_OVER: Responses = {**_OPEN, 204: answer("There is nothing after the last event id")}
EventNames = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": sorted(EVENT_NAMES)})]] | None,
    Query(alias="event", description="Send only events with this name; may be repeated"),
]


@router.get(
    "/jobs/{job_id}/events",
    response_class=Response,
    response_model=None,
    responses={**_OVER, **problems(JobNotFound, *_PROBLEMS)},
)
async def stream_job(
    request: Request, job_id: JobIdPath, last_event_id: JobEventHeader = None, resumed: JobEventQuery = None
) -> Response:
    """Stream the events of one job: past ones, then new ones, and finally the finished job. Then the stream ends."""
    after = job_event_id(last_event_id, resumed)
    return _stream(request, job_frames(queue_of(request), caller_of(request), job_id, after))


@router.get(
    "/batches/{batch_id}/events",
    response_class=Response,
    response_model=None,
    responses={**_OVER, **problems(BatchNotFound, *_PROBLEMS)},
)
async def stream_batch(
    request: Request, batch_id: BatchIdPath, last_event_id: FeedPlaceHeader = None, resumed: FeedPlaceQuery = None
) -> Response:
    """Stream the batch's current state, then the events of its jobs. The stream ends when the batch has finished."""
    place = feed_place(last_event_id, resumed)
    read = partial(_read_batch, request, batch_id)
    return _stream(request, batch_frames(queue_of(request), caller_of(request).tenant, batch_id, place, read))


@router.get(
    "/events",
    response_class=Response,
    response_model=None,
    responses={**_OPEN, **problems(RequestValidationError, *_PROBLEMS)},
)
async def stream_all(
    request: Request,
    names: EventNames = None,
    last_event_id: FeedPlaceHeader = None,
    resumed: FeedPlaceQuery = None,
) -> Response:
    """Stream the events of all of the caller's jobs, from now on or after the last event that was received."""
    place, wanted = feed_place(last_event_id, resumed), _known_names(names or [])
    return _stream(request, tenant_frames(queue_of(request), caller_of(request).tenant, place, wanted))


def _stream(request: Request, source: Any) -> EventStream:
    return EventStream(arqway_of(request).streams, source, partial(still_admitted, request))


async def _read_batch(request: Request, batch_id: str) -> BatchState:
    async with arqway_of(request).streams.turn:
        batch = await batches_of(request).read(batch_id)
    return BatchState(view_of(batch), batch.finished_ms)


def _known_names(names: list[str]) -> frozenset[str]:
    """Return the names as a set. Raises RequestValidationError for an unknown name."""
    if not EVENT_NAMES.issuperset(names):
        expected = ", ".join(sorted(EVENT_NAMES))
        raise RequestValidationError(
            [{"loc": ("query", "event"), "type": "enum", "msg": f"Input should be {expected}"}]
        )
    return frozenset(names)
