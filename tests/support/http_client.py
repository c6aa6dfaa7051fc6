"""The client and a real service to use it on: directly, or through a proxy that a test may mistreat."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from arqway import Registry
from arqway.service.app import create_app
from arqway.service.client import ArqwayClient
from arqway.service.server.server import Server, server_config
from arqway.service.settings import ServiceSettings
from arqway.workers.settings import Settings
from tests.support.http import served, service_settings
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import wait_until

OpenClient = Callable[..., AbstractAsyncContextManager[ArqwayClient]]


class Observed(httpx.AsyncHTTPTransport):
    """Real connections, and a note of each request and how it was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[httpx.Request] = []
        self.statuses: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        self.requests.append(request)
        answer = await super().handle_async_request(request)
        self.statuses.append(answer.status_code)
        return answer


@pytest.fixture
def open_client(settings: Settings) -> OpenClient:
    """A client of a real service on the test's own Redis.

    Use: ``async with open_client(registry, key=token, connect=Observed(), **settings) as api``.
    """

    @asynccontextmanager
    async def start(
        registry: Registry, *, key: str | None = None, connect: httpx.AsyncBaseTransport | None = None, **changes: Any
    ) -> AsyncIterator[ArqwayClient]:
        own = service_settings(settings, **changes)
        async with (
            served(create_app(own, registry), own) as server,
            ArqwayClient(server.url, api_key=key, connect=connect) as client,
        ):
            yield client

    return start


@asynccontextmanager
async def behind_proxy(settings: ServiceSettings, registry: Registry) -> AsyncIterator[Proxy]:
    """Give a proxy before a real service; its URL is one for ``redis``."""
    with tempfile.TemporaryDirectory(prefix="arqway-test-") as folder:
        path = Path(folder) / "s"
        async with serving(settings, registry, path), proxy(path) as between:
            yield between


@asynccontextmanager
async def serving(settings: ServiceSettings, registry: Registry, path: Path) -> AsyncIterator[None]:
    """Serve on a Unix socket, until the block ends."""
    app = create_app(settings, registry)
    server = Server(server_config(app, settings))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        running = asyncio.create_task(server._serve([listener]))
        await wait_until(lambda: server.started, "the server listens")
        yield
        server.should_exit = True
        await running
    path.unlink()  # noqa: ASYNC240 - so that another one may listen there


def http_url(between: Proxy) -> str:
    """Return where a client finds the proxy."""
    return between.url.replace("redis://", "http://")
