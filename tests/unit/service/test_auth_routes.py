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

from service.app import create_app
from service.auth import PUBLIC, SCOPES, Caller, Scope, guard_routes, scope_of
from service.problems import add_error_handlers
from service.settings import ServiceSettings
from tests.support.http import assert_problem
from tests.support.http_jobs import JOBS

NOT_BUILT = {
    ("GET", "/jobs"),
    ("POST", "/jobs:batch"),
    ("GET", "/jobs/{job_id}/result"),
    ("GET", "/jobs/{job_id}/attempts"),
    ("GET", "/jobs/{job_id}/waiting"),
    ("GET", "/jobs/{job_id}/events"),
    ("GET", "/jobs/{job_id}/deliveries"),
    ("POST", "/jobs/{job_id}/deliveries:redeliver"),
    ("POST", "/jobs/{job_id}:retry"),
    ("GET", "/events"),
    ("GET", "/batches/{batch_id}"),
    ("GET", "/batches/{batch_id}/events"),
    ("POST", "/batches/{batch_id}:cancel"),
    ("POST", "/batches/{batch_id}:retry-failed"),
    ("GET", "/dead"),
    ("POST", "/dead:redrive"),
    ("GET", "/queues"),
    ("POST", "/queues/{name}:pause"),
    ("POST", "/queues/{name}:resume"),
    ("GET", "/workers"),
}
"""Rows of the table whose routes do not exist yet."""


def shape(path: str) -> str:
    """Return a path template without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def app(**changes: object) -> FastAPI:
    """Return the service with jobs of all kinds."""
    return create_app(ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1", **changes}), JOBS)


def served() -> set[tuple[str, str]]:
    """Return method and shape of every route of the service; the routes of the kinds count as one."""
    kinds = {f"/jobs/{kind}" for kind in JOBS}
    routes = [route for route in app().routes if isinstance(route, Route)]
    calls = [(method, route.path) for route in routes for method in route.methods or ()]
    return {(method, shape("/jobs/{kind}" if path in kinds else path)) for method, path in calls}


def test_every_route_is_in_one_table() -> None:
    """A route is public, or its scope is in the table: nobody can forget it."""
    rows = {(method, shape(path)) for method, path in SCOPES}
    public = {shape(path) for path in PUBLIC}
    unknown = {(method, path) for method, path in served() if path not in public}
    assert unknown <= rows
    assert {path for _, path in rows}.isdisjoint(public)


def test_every_row_has_its_route() -> None:
    """The table names nothing that is not there, but for what is known to be missing."""
    missing = {(method, path) for method, path in SCOPES if (method, shape(path)) not in served()}
    assert missing <= NOT_BUILT <= set(SCOPES)


def test_no_row_hides_another() -> None:
    """Two rows never mean the same route."""
    assert len({(method, shape(path)) for method, path in SCOPES}) == len(SCOPES)


@pytest.mark.parametrize("kind", JOBS)
def test_jobs_of_every_kind_are_submitted_with_the_same_scope(kind: str) -> None:
    """The row of /jobs/{kind} is for the route of each kind, and for no other method."""
    assert scope_of("POST", f"/jobs/{kind}") is Scope.SUBMIT
    assert scope_of("DELETE", f"/jobs/{kind}") is Scope.OPERATE
    assert scope_of("GET", f"/jobs/{kind}") is Scope.OPERATE


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
