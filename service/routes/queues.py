"""Queues and workers: their statistics, and pausing a queue. They span all tenants, so they are for operators only."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from arqway.service.access.audit import audit
from arqway.service.access.callers import requires
from arqway.service.http.routing import JobRoute, arqway_of, json_answer
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.operations import PausedView, QueuesView, WorkersView
from arqway.workers.client.queues import QueueStatus
from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.view import timestamp
from arqway.workers.contract.worker import WorkerRecord

router = APIRouter(route_class=JobRoute, tags=["operations"], dependencies=[requires(Scope.OPERATE)])

QueueNamePath = Annotated[
    str, Path(description="The queue's name", pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$", examples=["reports"])
]
_READ = {200: answer("The current figures"), **problems(StoreUnavailable)}
_PAUSED = {200: answer("The new state, and whether it changed"), **problems(RequestValidationError, StoreUnavailable)}


@router.get("/queues", response_model=QueuesView, responses=_READ)
async def list_queues(request: Request) -> Response:
    """Return statistics for every queue, sorted by name."""
    return json_answer({"queues": [_queue_view(status) for status in await arqway_of(request).queues.all()]})


@router.post("/queues/{name}:pause", response_model=PausedView, responses=_PAUSED)
async def pause_queue(request: Request, name: QueueNamePath) -> Response:
    """Pause a queue: its jobs stop being started. Running jobs continue, and submissions are still accepted."""
    return await _pause(request, name, paused=True)


@router.post("/queues/{name}:resume", response_model=PausedView, responses=_PAUSED)
async def resume_queue(request: Request, name: QueueNamePath) -> Response:
    """Resume a paused queue, so that its jobs are started again."""
    return await _pause(request, name, paused=False)


@router.get("/workers", response_model=WorkersView, responses=_READ)
async def list_workers(request: Request) -> Response:
    """Return every worker as of its last heartbeat, at most ten seconds ago."""
    return json_answer({"workers": [_worker_view(worker) for worker in await arqway_of(request).queues.workers()]})


async def _pause(request: Request, name: str, *, paused: bool) -> Response:
    changed = await arqway_of(request).queues.pause(name, paused=paused)
    outcome = "done" if changed else "was so already"
    await audit(request, "queue.pause" if paused else "queue.resume", name, outcome=outcome)
    return json_answer({"name": name, "paused": paused, "changed": changed})


def _queue_view(status: QueueStatus) -> dict[str, Any]:
    figures = status.figures
    view: dict[str, Any] = {
        "name": figures.name,
        "depth": figures.due,
        "oldest_age_s": round(status.age_ms / 1000, 3),
        "later": max(0, figures.held - figures.due - figures.running),
        "running": figures.running,
        "in_rate": round(status.in_rate, 3),
        "out_rate": round(status.out_rate, 3),
        "failed": figures.failed,
        "workers": status.workers,
    }
    if (drain_s := status.drain_s) is not None:
        view["drain_s"] = round(drain_s, 1)
    if figures.paused_ms is not None:
        view["paused_at"] = timestamp(figures.paused_ms)
    return view


def _worker_view(worker: WorkerRecord) -> dict[str, Any]:
    view = {name: value for name, value in asdict(worker).items() if value is not None and not name.endswith("_ms")}
    times = {"started_at": timestamp(worker.started_ms), "beat_at": timestamp(worker.beat_ms)}
    return {**view, "loop_lag_ms": worker.loop_lag_ms, **times}
