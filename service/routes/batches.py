"""Batches: submit many jobs at once, then follow, cancel and retry them as one."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of, requires
from arqway.service.http import idempotency
from arqway.service.http.routing import (
    BODY_PROBLEMS,
    UNREAD,
    JobRoute,
    RawRoute,
    arqway_of,
    json_answer,
    path_of,
    read_json,
)
from arqway.service.openapi.responses import answer, problems
from arqway.service.problems.answers import item_problem
from arqway.service.routes.jobs import ID
from arqway.service.shapes.batches import AcceptedBatchView, ActedView, BatchView
from arqway.service.shapes.jobs import EXAMPLE_BATCH_ID
from arqway.service.shapes.submission import BatchRequest
from arqway.workers.client import AcceptedBatch, Batches, BatchItem, BatchRecord
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import BatchNotFound, BatchRefused, InvalidPayload, QueueFull, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.view import timestamp

raw = APIRouter(route_class=RawRoute, tags=["batches"])
router = APIRouter(route_class=JobRoute, tags=["batches"])

BatchIdPath = Annotated[
    str,
    Path(
        description="The batch's id, as returned by the submission", examples=[EXAMPLE_BATCH_ID], json_schema_extra=ID
    ),
]

_PACE = {"Retry-After": "1"}
_ACTED = {200: answer("How many jobs were affected"), **problems(BatchNotFound, StoreUnavailable)}


@raw.post(
    "/jobs:batch",
    status_code=202,
    response_model=AcceptedBatchView,
    responses={
        202: answer("The outcome of each job", "Location", "Retry-After", "Idempotency-Replayed"),
        **problems(*BODY_PROBLEMS, BatchRefused, *idempotency.PROBLEMS, QueueFull, StoreUnavailable),
    },
    dependencies=[requires(Scope.SUBMIT)],
)
async def submit_batch(
    request: Request,
    body: Annotated[BatchRequest, UNREAD, Body()],
    idempotency_key: idempotency.IdempotencyKeyHeader = None,
) -> Response:
    """Submit up to 1,000 jobs of any kinds: all or none of them (`atomic`), or each one that can be accepted.

    The response has the outcome of each job, and the ids of all that were accepted.
    """
    body_json = await read_json(request)
    try:
        asked = BatchRequest.model_validate_json(body_json)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidPayload("The body does not fit.", found) from error
    keyed = "idempotency-key" in request.headers
    claim = idempotency.claim_of(request, ":batch", body_json, wait_s=0) if keyed else None
    arqway = arqway_of(request)
    registry = arqway.registry
    for name in {job.queue or registry[job.kind].queue for job in asked.jobs if job.kind in registry}:
        arqway.queues.refuse_full(name)
    items = [BatchItem(job.kind, to_json(job.payload), job.submit_options()) for job in asked.jobs]
    accepted = await batches_of(request).submit(items, atomic=asked.atomic, idempotency=claim)
    if accepted.replay is not None:
        kept = accepted.replay.answer
        first = idempotency.read_answer(kept) if kept else await _rebuilt(request, accepted.id, len(asked.jobs))
        return idempotency.as_replay(first)
    response = _located(request, accepted.id, _accepted_view(accepted))
    if claim:
        await arqway.jobs.keep_answer(claim["key"], accepted.id, idempotency.write_answer(response))
    return response


@router.get(
    "/batches/{batch_id}",
    response_model=BatchView,
    responses={200: answer("The current state", "Retry-After"), **problems(BatchNotFound, StoreUnavailable)},
    dependencies=[requires(Scope.READ)],
)
async def read_batch(request: Request, batch_id: BatchIdPath) -> Response:
    """Return how many jobs of the batch are in each state, and the progress of the batch as a whole."""
    batch = await batches_of(request).read(batch_id)
    return json_answer(view_of(batch), headers=_PACE if batch.finished_ms is None else None)


@router.post(
    "/batches/{batch_id}:cancel", response_model=ActedView, responses=_ACTED, dependencies=[requires(Scope.SUBMIT)]
)
async def cancel_batch(request: Request, batch_id: BatchIdPath) -> Response:
    """Cancel all jobs of the batch that have not finished. Running jobs are asked to stop."""
    return json_answer({"jobs": await batches_of(request).cancel(batch_id)})


@router.post(
    "/batches/{batch_id}:retry-failed",
    response_model=ActedView,
    responses=_ACTED,
    dependencies=[requires(Scope.OPERATE)],
)
async def retry_failed(request: Request, batch_id: BatchIdPath) -> Response:
    """Resubmit the failed jobs of the batch. The new jobs take their places in the batch."""
    count = await batches_of(request).retry_failed(batch_id)
    await audit(request, "batch.retry-failed", batch_id, count)
    return json_answer({"jobs": count})


def batches_of(request: Request) -> Batches:
    """Return the caller's batches."""
    return Batches(arqway_of(request).jobs, caller_of(request).tenant)


def view_of(batch: BatchRecord) -> dict[str, Any]:
    """Return the state of the batch as a ``BatchView``."""
    ended = batch.counts["succeeded"] + batch.counts["failed"] + batch.counts["cancelled"]  # type: ignore[index]
    view: dict[str, Any] = {
        "id": batch.id,
        "created_at": timestamp(batch.created_ms),
        "total": batch.total,
        "counts": {state.value: count for state, count in batch.counts.items()},
        "progress": {"current": ended, "total": batch.total},
    }
    if batch.finished_ms is not None:
        view["finished_at"] = timestamp(batch.finished_ms)
    return view


def _located(request: Request, batch_id: str, view: dict[str, Any]) -> Response:
    return json_answer(view, 202, {"Location": path_of(request, f"/batches/{batch_id}"), **_PACE})


async def _rebuilt(request: Request, batch_id: str, asked: int) -> Response:
    """Return the response to a repeated batch whose first response was lost, as the service died: its current jobs."""
    jobs = await batches_of(request).jobs(batch_id)
    items = [{"index": int(job.id.split(".")[1]), "id": job.id, "state": job.state.value} for job in jobs]
    view = {"id": batch_id, "accepted": len(items), "refused": asked - len(items), "jobs": items}
    return _located(request, batch_id, view)


def _accepted_view(accepted: AcceptedBatch) -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {"index": index, "id": outcome.id, "state": outcome.state.value}
        if isinstance(outcome, JobRecord)
        else {"index": index, "problem": item_problem(index, outcome)}
        for index, outcome in enumerate(accepted.outcomes)
    ]
    count = accepted.accepted
    return {"id": accepted.id, "accepted": count, "refused": len(items) - count, "jobs": items}
