"""Deliveries: how the end of a job was told to its callback URL, and telling it again."""

from enum import Enum
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import caller_of
from arqway.service.dependencies import ExistingJob, queue_of
from arqway.service.http.answers import json_answer
from arqway.service.openapi.responses import ACCEPTED_HEADERS, answer, job_links, problems
from arqway.service.routes.jobs import retried_job
from arqway.service.shapes.jobs import JobView
from arqway.service.shapes.operations import DeliveriesView
from arqway.workers.client.deliveries import deliveries_of
from arqway.workers.contract.errors import JobNotFinished, JobNotFound, JobRetried, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import attempt_views, timestamp

_TAGS: list[str | Enum] = ["webhooks"]


def add_delivery_routes(router: APIRouter) -> None:
    """Add the routes of deliveries."""
    router.add_api_route(
        "/jobs/{job_id}/deliveries",
        list_deliveries,
        methods=["GET"],
        tags=_TAGS,
        operation_id="list_deliveries",
        response_model=DeliveriesView,
        responses={200: answer("As it is now"), **problems(JobNotFound, StoreUnavailable)},
    )
    router.add_api_route(
        "/jobs/{job_id}/deliveries:redeliver",
        redeliver,
        methods=["POST"],
        tags=_TAGS,
        status_code=202,
        operation_id="redeliver",
        response_model=JobView,
        responses={
            202: answer("The new delivery", *ACCEPTED_HEADERS, links=job_links()),
            **problems(JobNotFound, JobNotFinished, JobRetried, StoreUnavailable),
        },
    )


async def list_deliveries(record: ExistingJob, request: Request) -> Response:
    """List the deliveries of the job's end with their attempts, the first delivery first."""
    operator = caller_of(request).is_operator
    found = await deliveries_of(record, queue_of(request))
    return json_answer({"deliveries": [_view(delivery, operator=operator) for delivery in found]})


async def redeliver(record: ExistingJob, request: Request) -> Response:
    """Tell the job's end again, by a new job, once the latest delivery has ended."""
    found = await deliveries_of(record, queue_of(request))
    if not found:
        raise JobNotFound(f"There is no delivery of job {record.id}.")
    again = await queue_of(request).retry(found[-1].id, tenant=record.tenant)
    await audit(request, "delivery.redeliver", record.id)
    return retried_job(request, again)


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
