"""Pages that explain the problems with which the service answers. They need no key."""

from enum import Enum
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from arqway.service.http.answers import json_answer
from arqway.service.openapi.responses import answer, problems
from arqway.service.problems.answers import PAGES
from arqway.service.problems.pages import KINDS, PAGE_HEADERS, describe, describe_all, index_page, page_of
from arqway.service.shapes.problems import ProblemTypesView, ProblemTypeView

_TAGS: list[str | Enum] = ["problems"]
SlugPath = Annotated[
    str,
    Path(description="The last part of the problem's `type`", examples=["job-not-found"]),
]


def add_problem_routes(router: APIRouter) -> None:
    """Add the pages."""
    _add(router, PAGES, list_problems, ProblemTypesView)
    _add(router, f"{PAGES}/{{slug}}", read_problem, ProblemTypeView)


async def list_problems(request: Request) -> Response:
    """List all types of problems: a page for people or, for who accepts JSON and no HTML, data."""
    if _wants_json(request):
        return json_answer({"problems": describe_all()}, headers=PAGE_HEADERS)
    return HTMLResponse(index_page(_root_path(request)), headers=PAGE_HEADERS)


async def read_problem(slug: SlugPath, request: Request) -> Response:
    """Explain one type of problem. The header `Link` of every problem leads here."""
    kind = KINDS.get(slug)
    if kind is None:
        raise HTTPException(404, "There is no such type of problem.")
    if _wants_json(request):
        return json_answer(describe(kind), headers=PAGE_HEADERS)
    return HTMLResponse(page_of(kind, _root_path(request)), headers=PAGE_HEADERS)


def _wants_json(request: Request) -> bool:
    accepted = ",".join(request.headers.getlist("accept")).lower()
    return "json" in accepted and "html" not in accepted


def _root_path(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")


def _add(router: APIRouter, path: str, endpoint: Any, model: Any) -> None:
    page = {"text/html": {"schema": {"type": "string"}}}
    router.add_api_route(
        path,
        endpoint,
        methods=["GET"],
        tags=_TAGS,
        operation_id=endpoint.__name__,
        response_model=model,
        responses={200: answer("The page, or its data", "Cache-Control", "Vary", content=page), **problems()},
    )
