"""Events as they happen, as server-sent events: of one job, of one batch, or of all jobs of the caller."""

from enum import Enum
from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.admission import still_admitted
from arqway.service.access.callers import caller_of
from arqway.service.dependencies import BatchIdPath, JobIdPath, batches_of, queue_of
from arqway.service.http.submission import RawRoute
from arqway.service.openapi.responses import Responses, answer, problems
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
from arqway.service.sse.stream import MEDIA_TYPE, EventStream, OpenStreams
from arqway.workers.contract.errors import BatchNotFound, JobNotFound, StoreUnavailable
from arqway.workers.contract.events import FINISHED, PROGRESS
from arqway.workers.contract.states import JobState

EVENT_NAMES = frozenset({*JobState, PROGRESS, FINISHED})
_TAGS: list[str | Enum] = ["events"]
_PROBLEMS = (InvalidEventId, TooManyStreams, StoreUnavailable)
_EXAMPLE = """retry: 2000
: open

id: 1772357400131-0
event: progress
data: {"id":"0c2f7e6d9b1a4f4c8a51d3e2f6b7a890","state":"running","attempt":1,"at":"2026-03-01T09:30:00.131Z",\
"progress":{"current":2,"total":5,"message":"Summarised"}}

"""
_DATA = ("JobEventView", "JobView", "BatchView", "BatchFinishedView")
_EVENT = {
    "description": "One event of the stream",
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`"},
        "event": {"type": "string", "enum": sorted({*EVENT_NAMES, "batch", "gap"})},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                "anyOf": [
                    *({"$ref": f"#/components/schemas/{name}"} for name in _DATA),
                    {"type": "object", "maxProperties": 0, "description": "Of `gap`: events are no longer kept"},
                ]
            },
        },
    },
}
EventNames = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": sorted(EVENT_NAMES)})]] | None,
    Query(alias="event", description="Send events of these names only; may be repeated"),
]


def add_event_routes(router: APIRouter) -> None:
    """Add the event streams."""
    _add(router, "/jobs/{job_id}/events", stream_job, JobNotFound)
    _add(router, "/batches/{batch_id}/events", stream_batch, BatchNotFound)
    _add(router, "/events", stream_all, RequestValidationError)


async def stream_job(
    request: Request, job_id: JobIdPath, last_event_id: JobEventHeader = None, resumed: JobEventQuery = None
) -> EventStream:
    """Follow one job: what has happened to it, then what happens, and at its end all of it. Then the stream ends."""
    after = job_event_id(request)
    return _stream(request, job_frames(queue_of(request), caller_of(request), request.path_params["job_id"], after))


async def stream_batch(
    request: Request, batch_id: BatchIdPath, last_event_id: FeedPlaceHeader = None, resumed: FeedPlaceQuery = None
) -> EventStream:
    """Follow the jobs of a batch: how the batch is, then what happens, until it has finished. Then the stream ends."""
    place, batch_id = feed_place(request), request.path_params["batch_id"]
    read = partial(_read_batch, request, batch_id)
    return _stream(request, batch_frames(queue_of(request), caller_of(request).tenant, batch_id, place, read))


async def stream_all(
    request: Request,
    names: EventNames = None,
    last_event_id: FeedPlaceHeader = None,
    resumed: FeedPlaceQuery = None,
) -> EventStream:
    """Follow all jobs of the caller, from now on or behind the last event that was received."""
    place, wanted = feed_place(request), _wanted_names(request)
    return _stream(request, tenant_frames(queue_of(request), caller_of(request).tenant, place, wanted))


def _stream(request: Request, source: Any) -> EventStream:
    streams = cast(OpenStreams, request.app.state.streams)
    return EventStream(streams, source, partial(still_admitted, request))


async def _read_batch(request: Request, batch_id: str) -> BatchState:
    async with cast(OpenStreams, request.app.state.streams).turn:
        batch = await batches_of(request).read(batch_id)
    return BatchState(view_of(batch), batch.finished_ms)


def _wanted_names(request: Request) -> frozenset[str]:
    """Return the names in the query. Raises RequestValidationError for one that no event has."""
    names = frozenset(request.query_params.getlist("event"))
    if not names <= EVENT_NAMES:
        expected = ", ".join(sorted(EVENT_NAMES))
        raise RequestValidationError(
            [{"loc": ("query", "event"), "type": "enum", "msg": f"Input should be {expected}"}]
        )
    return names


def _add(router: APIRouter, path: str, endpoint: Any, problem: type[Exception]) -> None:
    media = {MEDIA_TYPE: {"schema": _EVENT, "example": _EXAMPLE}}
    answers: Responses = {200: answer("The events, as long as the stream is open", content=media)}
    if problem is not RequestValidationError:
        answers[204] = answer("Nothing follows the last event id")
    router.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        tags=_TAGS,
        operation_id=endpoint.__name__,
        response_class=Response,
        response_model=None,
        responses={**answers, **problems(problem, *_PROBLEMS)},
        route_class_override=RawRoute,
    )
