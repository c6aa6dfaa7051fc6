"""Live updates as server-sent events: for one job, for one batch, or for all jobs of the caller."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import Callers, caller_of, requires
from arqway.service.http.routing import JobRoute, arqway_of
from arqway.service.openapi.responses import EVENT_STREAM, Responses, answer, problems
from arqway.service.problems.errors import AccessRefused, InvalidEventId, TooManyStreams
from arqway.service.routes.batches import BatchIdPath, batches_of, view_of
from arqway.service.routes.jobs import JobIdPath
from arqway.service.sse.resumption import (
    FeedPlaceHeader,
    FeedPlaceQuery,
    JobEventHeader,
    JobEventQuery,
    feed_place,
    job_event_id,
)
from arqway.service.sse.sources import BatchState, batch_frames, job_frames, tenant_frames
from arqway.service.sse.stream import EventStream
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import BatchNotFound, JobNotFound, StoreUnavailable
from arqway.workers.contract.events import EVENT_NAMES

router = APIRouter(route_class=JobRoute, tags=["events"], dependencies=[requires(Scope.READ)])

_get = partial(router.get, response_class=Response, response_model=None)
_PROBLEMS = (InvalidEventId, TooManyStreams, StoreUnavailable)
_OPEN: Responses = {200: answer("The events, for as long as the stream is open", content=EVENT_STREAM)}
_OVER: Responses = {**_OPEN, 204: answer("There is nothing after the last event id")}
EventNames = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": sorted(EVENT_NAMES)})]] | None,
    Query(alias="event", description="Send only events with this name; may be repeated"),
]


@_get("/jobs/{job_id}/events", responses={**_OVER, **problems(JobNotFound, *_PROBLEMS)})
async def stream_job(
    request: Request, job_id: JobIdPath, last_event_id: JobEventHeader = None, resumed: JobEventQuery = None
) -> Response:
    """Stream the events of one job: past ones, then new ones, and finally the finished job. Then the stream ends."""
    after = job_event_id(last_event_id, resumed)
    return _stream(request, job_frames(arqway_of(request).jobs, caller_of(request), job_id, after))


@_get("/batches/{batch_id}/events", responses={**_OVER, **problems(BatchNotFound, *_PROBLEMS)})
async def stream_batch(
    request: Request, batch_id: BatchIdPath, last_event_id: FeedPlaceHeader = None, resumed: FeedPlaceQuery = None
) -> Response:
    """Stream the batch's current state, then the events of its jobs. The stream ends when the batch has finished."""
    place = feed_place(last_event_id, resumed)

    async def read() -> BatchState:
        async with arqway_of(request).streams.turn:
            batch = await batches_of(request).read(batch_id)
        return BatchState(view_of(batch), batch.finished_ms)

    return _stream(request, batch_frames(arqway_of(request).jobs, caller_of(request).tenant, batch_id, place, read))


@_get("/events", responses={**_OPEN, **problems(RequestValidationError, *_PROBLEMS)})
async def stream_all(
    request: Request, names: EventNames = None, last_event_id: FeedPlaceHeader = None, resumed: FeedPlaceQuery = None
) -> Response:
    """Stream the events of all of the caller's jobs, from now on or after the last event that was received."""
    place, wanted = feed_place(last_event_id, resumed), frozenset(names or [])
    if not wanted <= EVENT_NAMES:
        expected = ", ".join(sorted(EVENT_NAMES))
        raise RequestValidationError(
            [{"loc": ("query", "event"), "type": "enum", "msg": f"Input should be {expected}"}]
        )
    return _stream(request, tenant_frames(arqway_of(request).jobs, caller_of(request).tenant, place, wanted))


def _stream(request: Request, source: Any) -> EventStream:
    return EventStream(arqway_of(request).streams, source, partial(still_admitted, request))


async def still_admitted(request: Request) -> bool:
    """Return whether the caller may continue this request; for streams, which can outlive a key's revocation.

    While Redis is away, every caller may. A ``caller=`` dependency is evaluated only once, when the request begins.
    """
    callers: Callers | None = request.scope.get("callers")
    try:
        return callers is None or await callers(request.scope) is not None
    except AccessRefused:
        return False
    except StoreUnavailable:
        return True
