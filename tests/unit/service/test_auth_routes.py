"""Every route carries the scope that the contract promises, and asks for it before anything else."""

import re

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from arqway.service.access.callers import Caller, requires
from arqway.service.app import create_app
from arqway.service.arqway import Arqway
from arqway.service.http.routing import JobRoute, RawRoute
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.api_key import Scope
from tests.support.http import assert_problem
from tests.support.http_jobs import JOBS
from tests.support.scopes import PUBLIC, SCOPES, scope_of


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


def test_every_route_carries_its_scope() -> None:
    """A route is public, or requires what the contract says, and the contract names no route that is not there."""
    rows = {(method, shape(path)) for method, path in SCOPES}
    assert {(method, path) for method, path in served() if method != "HEAD"} == rows
    for route in app().routes:
        if isinstance(route, JobRoute):
            expected = (
                None if route.path in PUBLIC else {scope_of(method, route.path) for method in route.methods or ()}
            )
            assert expected == (None if route.needed_scope is None else {route.needed_scope}), route.path


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
        (Caller("t", []), 403, "insufficient_scope"),
        (Caller("t", ["submit", "read"]), 403, "insufficient_scope"),
        (Caller("t", ["operate"]), 200, ""),
    ],
)
@pytest.mark.parametrize("kind", [JobRoute, RawRoute])
async def test_a_route_is_not_reached_without_its_scope(
    kind: type[JobRoute], caller: Caller | None, status: int, code: str
) -> None:
    """The scope is asked for before the function is called, whatever kind of route it is."""
    reached: list[str] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        reached.append(request.url.path)
        return PlainTextResponse("here")

    route = kind("/things", endpoint, dependencies=[requires(Scope.OPERATE)], methods=["GET"])
    guarded = FastAPI()
    guarded.router.routes.append(route.bound(Arqway(JOBS)))
    async with AsyncClient(transport=ASGITransport(As(guarded, caller)), base_url="http://localhost") as client:
        response = await client.get("/things")

    assert response.status_code == status
    assert reached == (["/things"] if status == 200 else [])
    if code:
        assert_problem(response, status, code)


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
