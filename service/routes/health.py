"""Probes for whatever starts, restarts and balances the service."""

import asyncio
from enum import Enum

from fastapi import APIRouter
from starlette.requests import Request

from arqway.service.dependencies import queue_of
from arqway.service.openapi.responses import answer, problems
from arqway.service.shapes.health import HealthView
from arqway.workers.contract.errors import StoreUnavailable

_PATIENCE_S = 2.0

_TAGS: list[str | Enum] = ["health"]


def add_health_routes(router: APIRouter) -> None:
    """Add the probes."""
    router.add_api_route(
        "/livez",
        read_liveness,
        methods=["GET"],
        tags=_TAGS,
        operation_id="read_liveness",
        responses={200: answer("It lives"), **problems()},
    )
    router.add_api_route(
        "/readyz",
        read_readiness,
        methods=["GET"],
        tags=_TAGS,
        operation_id="read_readiness",
        responses={200: answer("It can serve"), **problems(StoreUnavailable)},
    )


async def read_liveness() -> HealthView:
    """Answer as long as the process can answer at all; depends on nothing else."""
    return {"status": "ok"}


async def read_readiness(request: Request) -> HealthView:
    """Tell whether jobs can be submitted and read: whether the job store answers within 2 seconds."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await queue_of(request).ping()
    except TimeoutError:
        raise StoreUnavailable from None
    return {"status": "ok"}
