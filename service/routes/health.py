"""Probes for whatever starts, restarts and balances the service. They are public."""

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


@router.get("/livez", responses={200: answer("It lives"), **problems()})
async def read_liveness() -> HealthView:
    """Answer as long as the process can answer at all; depends on nothing else."""
    return {"status": "ok"}


@router.get("/readyz", responses={200: answer("It can serve"), **problems(StoreUnavailable)})
async def read_readiness(request: Request) -> HealthView:
    """Tell whether jobs can be submitted and read: whether the job store answers within 2 seconds."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await queue_of(request).ping()
    except TimeoutError:
        raise StoreUnavailable from None
    return {"status": "ok"}
