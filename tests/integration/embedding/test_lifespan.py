"""How long an ``Arqway`` is open, and what it holds meanwhile."""

import asyncio

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from arqway import Arqway, Caller
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.settings import Settings
from tests.integration.embedding.host import JOBS, Order, host_app, weigh_order


def test_it_opens_inside_the_hosts_lifespan_and_closes_before_it(arqway: Arqway) -> None:
    """The host's own lifespan runs around it, once, however many routers there are."""
    events: list[str] = []
    app = host_app(arqway, events)
    app.include_router(arqway.router(prefix="/a", caller=lambda: Caller()))
    app.include_router(arqway.router(prefix="/b", caller=lambda: Caller()))
    with TestClient(app):
        assert events == ["host opened"]
        first = arqway.jobs
        assert arqway.jobs is first
    assert events == ["host opened", "host closed"]
    with pytest.raises(ConfigurationError, match="not open"):
        _ = arqway.jobs


@pytest.mark.parametrize("way", ["lifespan", "with"])
async def test_without_routes_it_is_opened_by_hand(arqway: Arqway, way: str) -> None:
    """``FastAPI(lifespan=arqway.lifespan)`` and ``async with arqway`` do the same."""
    if way == "lifespan":
        app = FastAPI(lifespan=arqway.lifespan)
        async with app.router.lifespan_context(app):
            accepted = await arqway.jobs.submit(weigh_order, Order(item="tea", grams=1))
    else:
        async with arqway as opened:
            assert opened is arqway
            accepted = await (await arqway.queue()).submit(weigh_order, Order(item="tea", grams=1))
    async with arqway:
        assert (await arqway.jobs.read(accepted.id)).id == accepted.id


async def test_it_is_open_as_long_as_anybody_needs_it(arqway: Arqway) -> None:
    """Opened by many tasks at once, it holds one pool, and the last one closes it."""
    clients = set()
    ready = asyncio.Barrier(20)

    async def use() -> None:
        async with arqway:
            clients.add(arqway.jobs)
            await ready.wait()
            await arqway.jobs.ping()

    await asyncio.gather(*(use() for _ in range(20)))
    assert len(clients) == 1
    with pytest.raises(ConfigurationError):
        _ = arqway.jobs


async def test_it_can_be_opened_again_in_another_event_loop(arqway: Arqway) -> None:
    """A test suite opens the same application again and again, each time in a loop of its own."""

    async def use() -> None:
        async with arqway:
            await arqway.jobs.ping()

    for _ in range(2):
        await asyncio.to_thread(asyncio.run, use())


async def test_without_a_redis_url_the_embedded_server_is_used(settings: Settings) -> None:
    """The first to need it starts it and stops it again; others attach to it."""
    own = ServiceSettings.model_validate({**settings.model_dump(), "redis_url": None})
    first, second = Arqway(JOBS, settings=own), Arqway(JOBS, settings=own)
    async with first, second:
        accepted = await first.jobs.submit(weigh_order, Order(item="tea", grams=1))
        assert (await second.jobs.read(accepted.id)).id == accepted.id
    assert not EmbeddedServer(own.home).is_running()


async def test_what_fails_to_open_leaves_nothing_open(settings: Settings) -> None:
    """A setting that cannot be used is refused at the start, and the next start works."""
    arqway = Arqway(JOBS)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ARQWAY_LEASE_S", "soon")
        with pytest.raises(ConfigurationError, match="ARQWAY_LEASE_S"):
            await arqway.__aenter__()
        environment.delenv("ARQWAY_LEASE_S")
        assert settings.redis_url is not None
        environment.setenv("REDIS_URL", settings.redis_url.get_secret_value())
        async with arqway:
            await arqway.jobs.ping()
