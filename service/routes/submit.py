"""Submitting a job: one typed route per kind, which reads the payload only once."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.callers import caller_of, requires
from arqway.service.http import idempotency
from arqway.service.http.routing import (
    BODY_PROBLEMS,
    UNREAD,
    JobRoute,
    PreferHeader,
    RawRoute,
    applied,
    arqway_of,
    job_answer,
    path_of,
    read_json,
    wait_of,
)
from arqway.service.openapi.responses import SUBMITTED_HEADERS, answer, problems
from arqway.service.shapes.jobs import typed_job_view, view_names
from arqway.service.shapes.submission import QueryOptions, query_options
from arqway.workers.client import SubmitOptions
from arqway.workers.contract import errors
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.record import JobRecord
from arqway.workers.definition import JobDefinition
from arqway.workers.registry import Registry

unknown = APIRouter(route_class=JobRoute)

Respond = Callable[[Request, JobRecord, dict[str, str]], Response]
"""Builds the response to a submission, with these headers: 202 or, for a job that has already finished, 200."""
SUBMIT_PROBLEMS = (
    *BODY_PROBLEMS,
    errors.NotUnique,
    errors.InvalidSubmission,
    errors.QueueNotAllowed,
    errors.CallbacksOff,
    *idempotency.PROBLEMS,
    errors.QueueFull,
    errors.StoreUnavailable,
)


def submit_routes(registry: Registry) -> APIRouter:
    """Return the routes that submit jobs of these kinds."""
    raw = APIRouter(route_class=RawRoute)
    names = view_names(registry)
    for job in registry.values():
        view = typed_job_view(job, names[job.kind])
        raw.post(
            f"/jobs/{job.kind}",
            name=f"submit_{names[job.kind]}",
            tags=["jobs"],
            status_code=202,
            summary=job.summary or f"Submit {job.kind}",
            description="Submit a job and return immediately. An accepted job is never lost.",
            response_model=view,
            responses={
                202: answer("The job is accepted", *SUBMITTED_HEADERS),
                200: answer("The job finished within the time given by `Prefer: wait`", *SUBMITTED_HEADERS, model=view),
                **problems(*SUBMIT_PROBLEMS),
            },
            dependencies=[requires(Scope.SUBMIT)],
        )(submit_endpoint(job, accepted_job))
    return raw


def submit_endpoint(job: JobDefinition[Any, Any], respond: Respond) -> Callable[..., Coroutine[Any, Any, Response]]:
    """Return an endpoint for a ``RawRoute`` that submits jobs of one kind and responds with ``respond``."""

    async def submit(
        request: Request,
        payload: Any,
        options: Annotated[QueryOptions, Query()],
        idempotency_key: idempotency.IdempotencyKeyHeader = None,
        prefer: PreferHeader = None,
    ) -> Response:
        arqway = arqway_of(request)
        queue = arqway.jobs
        body = await read_json(request)
        wait_s = wait_of(request)
        query = request.scope["query_string"]
        chosen = _read_query(QueryParams(query)) if query else SubmitOptions()
        chosen["tenant"] = caller_of(request).tenant
        claim = None
        if "idempotency-key" in request.headers:
            claim = chosen["idempotency"] = idempotency.claim_of(request, job.kind, body, wait_s=wait_s)
        arqway.queues.refuse_full(chosen.get("queue") or job.queue)
        accepted = await queue.submit_json(job.kind, body, **chosen)
        if accepted.replay is not None:
            kept = accepted.replay.answer
            first = idempotency.read_answer(kept) if kept else respond(request, accepted.record, {})
            return idempotency.as_replay(first)
        record = accepted.record
        if wait_s is not None:
            record = await queue.changed(record, timeout_s=wait_s, until_ended=True)
        response = respond(request, record, applied(wait_s))
        if claim and claim["hold"]:
            await queue.keep_answer(claim["key"], record.id, idempotency.write_answer(response))
        return response

    submit.__annotations__["payload"] = Annotated[job.payload_type, UNREAD, Body()]
    submit.__annotations__["options"] = Annotated[query_options((job.queue, *job.other_queues)), Query()]
    return submit


@unknown.post("/jobs/{kind}", include_in_schema=False, dependencies=[requires(Scope.SUBMIT)])
async def refuse_kind(kind: str) -> Response:
    """Refuse a kind that is not registered."""
    raise errors.UnknownKind


def accepted_job(request: Request, record: JobRecord, headers: dict[str, str]) -> Response:
    """Return the response to a submission: 202, or 200 for a job that has already finished."""
    location = path_of(request, f"/jobs/{record.id}")
    return job_answer(request, record, 200 if record.finished else 202, {"Location": location, **headers})


def _read_query(query: QueryParams) -> SubmitOptions:
    """Return the options in the query. Raises RequestValidationError."""
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
