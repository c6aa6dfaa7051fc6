"""The public routes: probes for orchestrators and load balancers, and pages that explain the problem types."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from arqway.service.http.routing import JobRoute, arqway_of, json_answer, path_of
from arqway.service.openapi.responses import answer, problems
from arqway.service.problems.answers import PAGES, plain_problem
from arqway.service.problems.pages import PAGE_HEADERS, describe, index_page, page_of
from arqway.service.problems.table import KINDS
from arqway.service.shapes.operations import HealthView
from arqway.service.shapes.problems import ProblemTypesView, ProblemTypeView
from arqway.workers.contract.errors import StoreUnavailable

probes = APIRouter(route_class=JobRoute, tags=["health"])
pages = APIRouter(route_class=JobRoute, tags=["problems"])

_PATIENCE_S = 2.0

SlugPath = Annotated[str, Path(description="The last part of the problem's `type`", examples=["job-not-found"])]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The page, as HTML or JSON", "Cache-Control", "Vary", content={"text/html": {"schema": {"type": "string"}}}
    ),
    **problems(),
}


@probes.get("/livez", responses={200: answer("The process is alive"), **problems()})
async def read_liveness() -> HealthView:
    """Respond for as long as the process can respond at all; this depends on nothing else."""
    return {"status": "ok"}


@probes.get("/readyz", responses={200: answer("The service is ready"), **problems(StoreUnavailable)})
async def read_readiness(request: Request) -> HealthView:
    """Check whether jobs can be submitted and read, which means that the job store answers within 2 seconds."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await arqway_of(request).jobs.ping()
    except TimeoutError:
        raise StoreUnavailable from None
    return {"status": "ok"}


@pages.get(PAGES, response_model=ProblemTypesView, responses=_RESPONSES)
async def list_problems(request: Request) -> Response:
    """List all problem types, as HTML or, for clients that accept JSON and not HTML, as JSON."""
    if _wants_json(request):
        return json_answer({"problems": [describe(kind) for kind in KINDS]}, headers=PAGE_HEADERS)
    return HTMLResponse(index_page(path_of(request, "")), headers=PAGE_HEADERS)


@pages.get(f"{PAGES}/{{slug}}", response_model=ProblemTypeView, responses=_RESPONSES)
async def read_problem(slug: SlugPath, request: Request) -> Response:
    """Explain one problem type. The `Link` header of every problem response leads here."""
    kind = next((kind for kind in KINDS if kind.slug == slug), None)
    if kind is None:
        return plain_problem(404, "There is no such type of problem.")
    if _wants_json(request):
        return json_answer(describe(kind), headers=PAGE_HEADERS)
    return HTMLResponse(page_of(kind, path_of(request, "")), headers=PAGE_HEADERS)


def _wants_json(request: Request) -> bool:
    accepted = ",".join(request.headers.getlist("accept")).lower()
    return "json" in accepted and "html" not in accepted
