"""Every route has its scope, from one table, and one that has none is for operators only."""

import re
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from arqway.service.access.callers import PUBLIC, SCOPES, Caller, Scope, guard_routes, scope_of
from arqway.service.app import create_app
from arqway.service.problems.answers import add_error_handlers
from arqway.service.settings import ServiceSettings
from tests.support.http import assert_problem
from tests.support.http_jobs import JOBS


def shape(path: str) -> str:
    """Return a path template without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def app(**changes: object) -> FastAPI:
    """Return the service with jobs of all kinds."""
    return create_app(ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1", **changes}), JOBS)


def served() -> set[tuple[str, str]]:
    """Return method and shape of every route that is not public; the routes of the kinds count as one."""
    kinds = {f"/jobs/{kind}" for kind in JOBS}
    routes = [route for route in app().routes if isinstance(route, Route) and route.path not in PUBLIC]
    calls = [(method, route.path) for route in routes for method in route.methods or ()]
    return {(method, shape("/jobs/{kind}" if path in kinds else path)) for method, path in calls}


def test_one_table_has_every_route() -> None:
    """A route is public, or its scope is in the table, and the table names nothing that is not there."""
    rows = {(method, shape(path)) for method, path in SCOPES}
    heads = {("HEAD", path) for method, path in rows if method == "GET"}
    assert served() == rows | heads


def test_what_is_public_is_there() -> None:
    """Nobody but probes and documentation is let in without a key, and none of them is missing."""
    paths = {getattr(route, "path", "") for route in app().routes}
    assert paths >= PUBLIC
    assert PUBLIC.isdisjoint(path for _, path in SCOPES)


def test_no_row_hides_another() -> None:
    """Two rows never mean the same route."""
    assert len({(method, shape(path)) for method, path in SCOPES}) == len(SCOPES)


@pytest.mark.parametrize("kind", JOBS)
def test_jobs_of_every_kind_are_submitted_with_the_same_scope(kind: str) -> None:
    """The row of /jobs/{kind} is for the route of each kind, and for no other method."""
    assert scope_of("POST", f"/jobs/{kind}") is Scope.SUBMIT
    assert scope_of("DELETE", f"/jobs/{kind}") is Scope.OPERATE
    assert scope_of("GET", f"/jobs/{kind}") is Scope.OPERATE


@pytest.mark.parametrize("path", [path for method, path in SCOPES if method == "GET"])
def test_a_head_needs_what_its_get_does(path: str) -> None:
    """Who may not read a thing may not ask whether it is there either."""
    assert scope_of("HEAD", path) is scope_of("GET", path)


@pytest.mark.parametrize("path", ["/forgotten", "/jobs/{id}:burn", "/jobs/{id}/secrets", "/jobs:purge"])
def test_a_route_that_was_forgotten_is_for_operators(path: str) -> None:
    """What nobody thought of is refused to all but those who may do everything."""
    assert {scope_of(method, path) for method in ("GET", "POST", "DELETE")} == {Scope.OPERATE}


class As:
    """A layer that says who is calling."""

    def __init__(self, app: ASGIApp, caller: Caller | None) -> None:
        self._app = app
        self._caller = caller

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._app({**connection, "caller": self._caller}, receive, send)


@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [
        (None, 401, "unauthenticated"),
        (Caller("t", frozenset(), "k", "n"), 403, "insufficient_scope"),
        (Caller("t", frozenset({Scope.SUBMIT, Scope.READ}), "k", "n"), 403, "insufficient_scope"),
        (Caller("t", frozenset({Scope.OPERATE}), "k", "n"), 200, ""),
    ],
)
async def test_a_guarded_route_is_not_reached_without_its_scope(caller: Caller | None, status: int, code: str) -> None:
    """The guard stands before the endpoint, whatever kind of route it is."""
    reached: list[str] = []

    async def endpoint(request: Any) -> PlainTextResponse:
        reached.append(request.url.path)
        return PlainTextResponse("here")

    guarded = FastAPI()
    add_error_handlers(guarded)
    guarded.add_route("/forgotten", endpoint)
    guard_routes(guarded.routes)
    async with AsyncClient(transport=ASGITransport(As(guarded, caller)), base_url="http://localhost") as client:
        response = await client.get("/forgotten")

    assert response.status_code == status
    assert reached == (["/forgotten"] if status == 200 else [])
    if code:
        assert_problem(response, status, code)


def test_what_cannot_be_guarded_is_refused() -> None:
    """An application that was mounted would have routes of its own, which the guard does not see."""
    with pytest.raises(TypeError, match="not guarded"):
        guard_routes([Mount("/files", PlainTextResponse("all of them"))])


def test_the_document_says_which_scope_each_route_needs() -> None:
    """With keys, every operation but the public ones names its scope; without, none asks for anything."""
    locked, unlocked = app(auth="keys").openapi(), app().openapi()
    for path, operations in locked["paths"].items():
        for method, operation in operations.items():
            needed = None if path in PUBLIC else [{"bearer": [scope_of(method.upper(), path).value]}]
            assert operation.get("security") == needed
    assert locked["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "securitySchemes" not in unlocked["components"]
    assert "security" not in str(unlocked["paths"])
