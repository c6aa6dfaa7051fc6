"""Pages that explain the service's problem types. They are public."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from arqway.service.http.answers import json_answer
from arqway.service.http.routing import JobRoute
from arqway.service.openapi.responses import answer, problems
from arqway.service.problems.answers import PAGES, base_path, plain_problem
from arqway.service.problems.pages import PAGE_HEADERS, describe, index_page, page_of
from arqway.service.problems.table import KINDS
from arqway.service.shapes.problems import ProblemTypesView, ProblemTypeView

router = APIRouter(route_class=JobRoute, tags=["problems"])

SlugPath = Annotated[
    str,
    Path(description="The last part of the problem's `type`", examples=["job-not-found"]),
]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: answer(
        "The page, as HTML or JSON", "Cache-Control", "Vary", content={"text/html": {"schema": {"type": "string"}}}
    ),
    **problems(),
}


@router.get(PAGES, response_model=ProblemTypesView, responses=_RESPONSES)
async def list_problems(request: Request) -> Response:
    """List all problem types, as HTML or, for clients that accept JSON and not HTML, as JSON."""
    if _wants_json(request):
        return json_answer({"problems": [describe(kind) for kind in KINDS]}, headers=PAGE_HEADERS)
    return HTMLResponse(index_page(base_path(request.scope)), headers=PAGE_HEADERS)


@router.get(f"{PAGES}/{{slug}}", response_model=ProblemTypeView, responses=_RESPONSES)
async def read_problem(slug: SlugPath, request: Request) -> Response:
    """Explain one problem type. The `Link` header of every problem response leads here."""
    kind = next((kind for kind in KINDS if kind.slug == slug), None)
    if kind is None:
        return plain_problem(404, "There is no such type of problem.")
    if _wants_json(request):
        return json_answer(describe(kind), headers=PAGE_HEADERS)
    return HTMLResponse(page_of(kind, base_path(request.scope)), headers=PAGE_HEADERS)


def _wants_json(request: Request) -> bool:
    accepted = ",".join(request.headers.getlist("accept")).lower()
    return "json" in accepted and "html" not in accepted
