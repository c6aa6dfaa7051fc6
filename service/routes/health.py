"""Probes for process supervisors, orchestrators and load balancers. They are public."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request

from arqway.service.dependencies import queue_of
from arqway.service.http.routing import JobRoute
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.health import HealthView
from arqway.workers.contract.errors import StoreUnavailable

router = APIRouter(route_class=JobRoute, tags=["health"])

_PATIENCE_S = 2.0


@router.get("/livez", responses={200: answer("The process is alive"), **problems()})
async def read_liveness() -> HealthView:
    """Respond for as long as the process can respond at all; this depends on nothing else."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: answer("The service is ready"), **problems(StoreUnavailable)})
async def read_readiness(request: Request) -> HealthView:
    """Check whether jobs can be submitted and read, which means that the job store answers within 2 seconds."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await queue_of(request).ping()
    except TimeoutError:
        raise StoreUnavailable from None
    return {"status": "ok"}
