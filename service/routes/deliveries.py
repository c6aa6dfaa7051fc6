"""Webhook deliveries: their attempts to notify a job's callback URL of its end, and sending them again."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of, requires
from arqway.service.http.routing import JobRoute, arqway_of, json_answer
from arqway.service.openapi.responses import ACCEPTED_HEADERS, answer, problems
from arqway.service.routes.jobs import ExistingJob, retried_job
from arqway.service.shapes.jobs import JobView
from arqway.service.shapes.operations import DeliveriesView
from arqway.workers.client import JobQueue
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import JobNotFinished, JobNotFound, JobRetried, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import attempt_views, timestamp

router = APIRouter(route_class=JobRoute, tags=["webhooks"])


@router.get(
    "/jobs/{job_id}/deliveries",
    response_model=DeliveriesView,
    responses={200: answer("The deliveries so far"), **problems(JobNotFound, StoreUnavailable)},
    dependencies=[requires(Scope.READ)],
)
async def list_deliveries(record: ExistingJob, request: Request) -> Response:
    """List the webhook deliveries of the job with their attempts, oldest first."""
    operator = caller_of(request).is_operator
    found = await _deliveries_of(record, arqway_of(request).jobs)
    return json_answer({"deliveries": [_view(delivery, operator=operator) for delivery in found]})


@router.post(
    "/jobs/{job_id}/deliveries:redeliver",
    status_code=202,
    response_model=JobView,
    responses={
        202: answer("The new delivery", *ACCEPTED_HEADERS),
        **problems(JobNotFound, JobNotFinished, JobRetried, StoreUnavailable),
    },
    dependencies=[requires(Scope.OPERATE)],
)
async def redeliver(record: ExistingJob, request: Request) -> Response:
    """Send the webhook again, as a new delivery job. The latest delivery must have finished."""
    found = await _deliveries_of(record, arqway_of(request).jobs)
    if not found:
        raise JobNotFound(f"There is no delivery of job {record.id}.")
    again = await arqway_of(request).jobs.retry(found[-1].id, tenant=record.tenant)
    await audit(request, "delivery.redeliver", record.id)
    return retried_job(request, again)


async def _deliveries_of(record: JobRecord, queue: JobQueue) -> list[JobRecord]:
    """Return the deliveries, each the retry of the one before; none before the job's end, or without a callback URL."""
    found: list[JobRecord] = []
    next_id: str | None = f"{record.id}.webhook"
    while next_id is not None and (known := await queue.read_many([next_id])):
        found += known
        next_id = known[0].retried_as
    return found


def _view(delivery: JobRecord, *, operator: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": delivery.id,
        "state": delivery.state.value,
        "created_at": timestamp(delivery.created_ms),
        "attempts": attempt_views(delivery, operator=operator),
    }
    if delivery.next_retry_ms is not None:
        view["next_retry_at"] = timestamp(delivery.next_retry_ms)
    if delivery.state is JobState.SUCCEEDED:
        view["status"] = delivery.result["status"]
    return view
