"""The HTTP service under test: in this process over ASGI or, for what only a wire shows, behind a real server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from arqway.service.app import create_app
from arqway.service.server.server import BACKLOG, Server, server_config
from arqway.service.settings import ServiceSettings
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from tests.support.waiting import wait_until

BASE_URL = "http://localhost"
OpenApi = Callable[..., AbstractAsyncContextManager[AsyncClient]]


def service_settings(settings: Settings, **changes: object) -> ServiceSettings:
    """Return the service's settings for a worker's."""
    return ServiceSettings.model_validate({**settings.model_dump(), **changes})


@asynccontextmanager
async def api_client(settings: ServiceSettings, registry: Registry) -> AsyncIterator[AsyncClient]:
    """Give a client of a service that runs in this process."""
    app = create_app(settings, registry)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as client,
    ):
        yield client


@asynccontextmanager
async def served_client(settings: ServiceSettings, registry: Registry) -> AsyncIterator[AsyncClient]:
    """Give a client of a service behind a real server and socket."""
    async with served(create_app(settings, registry), settings) as server, AsyncClient(base_url=server.url) as client:
        yield client


class Served(NamedTuple):
    """An application behind a real server in this process."""

    url: str
    state: ServerState


@asynccontextmanager
async def served(app: ASGIApp, settings: ServiceSettings) -> AsyncIterator[Served]:
    """Serve an application on a free port, configured as in ``python -m arqway.service``."""
    server = Server(server_config(app, settings))
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        serving = asyncio.create_task(server._serve([listener]))  # serve() would take the test process's signals
        await wait_until(lambda: server.started, "the server listens")
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server.server_state)
        server.should_exit = True
        await serving


@pytest.fixture
def api(settings: Settings) -> OpenApi:
    """The service in this process, on the test's own Redis.

    Use: ``async with api(registry, **settings) as client``.
    """
    return lambda registry, **changes: api_client(service_settings(settings, **changes), registry)


@pytest.fixture
def served_api(settings: Settings) -> OpenApi:
    """Like ``api``, over a real socket."""
    return lambda registry, **changes: served_client(service_settings(settings, **changes), registry)


@pytest.fixture
def nowhere(tmp_path: Path) -> ServiceSettings:
    """Settings that name a Redis address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return ServiceSettings.model_validate({"redis_url": f"redis://127.0.0.1:{port}", "home": tmp_path})


async def wait_for_state(client: AsyncClient, path: str, *states: str) -> dict[str, Any]:
    """Return what ``GET path`` says once its state is one of ``states``."""
    answer: dict[str, Any] = {}

    async def reached() -> bool:
        nonlocal answer
        answer = (await client.get(path)).json()
        return answer.get("state") in states

    await wait_until(reached, f"{path} is {' or '.join(states)}")
    return answer


def assert_problem(response: Response, status: int, code: str) -> dict[str, Any]:
    """Check that ``response`` is this problem, complete after RFC 9457, and return it."""
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] in ("about:blank", f"urn:arqway:problem:{code.replace('_', '-')}")
    return problem
