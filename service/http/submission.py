"""How a job gets in: the route that reads a payload once, and the answer to it."""

import inspect
import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Body, Query
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of
from arqway.service.dependencies import queue_of, queues_of
from arqway.service.http.answers import PreferHeader, applied, wait_of
from arqway.service.http.idempotency import IdempotencyKeyHeader, idempotency_of, read_answer, replayed, write_answer
from arqway.service.http.strict_json import check_json
from arqway.service.problems.errors import UnsupportedMediaType
from arqway.service.shapes.submission import QueryOptions, query_options
from arqway.workers.client import SubmitOptions
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.record import JobRecord
from arqway.workers.definition import JobDefinition

_JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.IGNORECASE)

ModelT = TypeVar("ModelT", bound=BaseModel)
Endpoint = Callable[..., Coroutine[Any, Any, Response]]


class Respond(Protocol):
    """Makes the answer to a submission."""

    def __call__(self, request: Request, record: JobRecord, headers: dict[str, str]) -> Response:
        """Return the answer, 202 or, for a job that has ended already, 200."""


class RawRoute(APIRoute):
    """A route whose endpoint reads the request itself; its other parameters only document it, and get None.

    FastAPI would parse the body, validate it and hand over an object, and the queue would validate that once more.
    Measured without the queue: 34 µs of processor time a request, where a typed body costs 70 and more.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what serves a request."""
        names = [name for name in inspect.signature(self.endpoint).parameters if name != "request"]
        return partial(self.endpoint, **dict.fromkeys(names))


def submit_endpoint(job: JobDefinition[Any, Any], respond: Respond) -> Endpoint:
    """Return the endpoint, for a ``RawRoute``, that submits jobs of one kind and answers with ``respond``."""

    async def submit(
        request: Request,
        payload: Any,
        options: Annotated[QueryOptions, Query()],
        idempotency_key: IdempotencyKeyHeader = None,
        prefer: PreferHeader = None,
    ) -> Response:
        body = await read_json(request)
        wait_s = wait_of(request)
        chosen = options_of(request)
        if claim := idempotency_of(request, job.kind, body, wait_s=wait_s):
            chosen["idempotency"] = claim
        queues_of(request).refuse_full(chosen.get("queue") or job.queue)
        accepted = await queue_of(request).submit_json(job.kind, body, **chosen)
        if accepted.replay is not None:
            kept = accepted.replay.answer
            return read_answer(kept) if kept else replayed(respond(request, accepted.record, {}))
        record = accepted.record
        if wait_s is not None:
            record = await queue_of(request).changed(record, timeout_s=wait_s, until_ended=True)
        answer = respond(request, record, applied(wait_s))
        if claim and claim["hold"]:
            await queue_of(request).keep_answer(claim["key"], record.id, write_answer(answer))
        return answer

    submit.__annotations__["payload"] = Annotated[job.payload_type, Body()]
    submit.__annotations__["options"] = Annotated[query_options((job.queue, *job.other_queues)), Query()]
    return submit


def options_of(request: Request) -> SubmitOptions:
    """Return what the query says of the job, for the caller's tenant. Raises RequestValidationError."""
    query = request.scope["query_string"]
    chosen = _read_query(QueryParams(query)) if query else SubmitOptions()
    chosen["tenant"] = caller_of(request).tenant
    return chosen


def _read_query(query: QueryParams) -> SubmitOptions:
    given: dict[str, Any] = {name: query[name] for name in query if name != "tag"}
    if repeated := [name for name in given if len(query.getlist(name)) > 1]:
        problem = {"loc": ("query", repeated[0]), "type": "value_error", "msg": "It was given more than once"}
        raise RequestValidationError([problem])
    if tags := query.getlist("tag"):
        given["tag"] = tags
    try:
        return QueryOptions.model_validate(given).submit_options()
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from error


def as_model(body: bytes, model: type[ModelT]) -> ModelT:
    """Return a body as ``model``. Raises InvalidPayload."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidPayload("The body does not fit.", found) from error


async def read_json(request: Request) -> bytes:
    """Return the body, unread. Raises UnsupportedMediaType, NotJson and UnsupportedJson.

    Anything but JSON by its declared type is refused, since a web page of any origin may make a browser send the other
    types, or none, without asking first. Source: Fetch standard, "CORS-safelisted request-header".
    """
    if not _JSON_TYPE.match(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    body = await _body(request)
    check_json(body)
    return body


async def read_optional_json(request: Request) -> bytes | None:
    """Return the same; None for an empty body, whatever its type."""
    body = await _body(request)
    if not body:
        return None
    if not _JSON_TYPE.match(request.headers.get("content-type", "")):
        raise UnsupportedMediaType
    check_json(body)
    return body


async def _body(request: Request) -> bytes:
    """Return the body; one that came whole, as most do, without the generator that Starlette reads with."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    return body + await request.body()
