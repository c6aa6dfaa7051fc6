"""What operators do is noted: who, what, when, how many. In the log always, and in Redis as long as it answers."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from arqway.service.access.audit import audit
from arqway.service.app import create_app
from arqway.service.http.routing import JobRoute
from arqway.service.routes.events import still_admitted
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import open_access
from arqway.workers.contract.api_key import Scope
from arqway.workers.settings import Settings
from tests.support.api_keys import bearer, make_key, revoke
from tests.support.http import BASE_URL, service_settings
from tests.support.http_jobs import JOBS
from tests.support.redis_server import valkey


async def act(request: Request) -> PlainTextResponse:
    """Do something to seven queues."""
    await audit(request, "queue.pause", "all of them", 7, outcome="paused")
    return PlainTextResponse("done")


async def ask(request: Request) -> PlainTextResponse:
    """Tell whether a stream might go on, as it is asked to begin and after its key was revoked."""
    before = await still_admitted(request)
    await revoke(request.app.state.arqway.settings, request.headers["authorization"].split()[1])
    request.scope["callers"]._known.clear()  # as five seconds do
    return PlainTextResponse(f"{before} {await still_admitted(request)}")


@asynccontextmanager
async def client_of(settings: ServiceSettings) -> AsyncIterator[AsyncClient]:
    """Give a client of a service with the two routes above."""
    app = create_app(settings, JOBS)
    app.router.routes.append(JobRoute("/act", act, methods=["POST"]).bound(app.state.arqway))
    app.add_route("/ask", ask)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as client,
    ):
        yield client


async def test_an_action_is_a_line_and_an_entry(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Both say which key, its name and tenant, what was done to what and to how many, and in which request."""
    token = await make_key(settings, Scope.OPERATE, tenant="t1")
    with caplog.at_level(logging.INFO, "arqway.service.access.audit"):
        async with client_of(service_settings(settings, auth="keys")) as client:
            answer = await client.post("/act", headers={**bearer(token), "x-request-id": "r-1"})
    async with open_access(settings) as access:
        (entry,) = await access.audit.last(10)
    (line,) = [vars(record) for record in caplog.records if record.name == "arqway.service.access.audit"]

    assert answer.status_code == 200
    assert (line["message"], line["levelname"]) == ("Operate action", "INFO")
    expected = (token.split("_")[1], "test", "t1", "queue.pause", "all of them", 7, "paused", "r-1")
    assert (entry.key_id, entry.name, entry.tenant, *_done(vars_of(entry))) == expected
    assert (line["key_id"], line["key_name"], line["tenant"], *_done(line)) == expected
    assert abs(entry.at_ms / 1000 - line["created"]) < 5


def vars_of(entry: object) -> dict[str, object]:
    """Return the fields of an entry."""
    return {name: getattr(entry, name) for name in ("action", "target", "count", "outcome", "request_id")}


def _done(fields: dict[str, object]) -> tuple[object, ...]:
    return tuple(fields[name] for name in ("action", "target", "count", "outcome", "request_id"))


async def test_an_action_is_noted_also_where_redis_does_not_take_it(
    nowhere: ServiceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is there, a warning with the same fields tells of the missing entry, and the request goes on."""
    with caplog.at_level(logging.INFO, "arqway.service.access.audit"):
        async with client_of(nowhere) as client:
            answer = await client.post("/act")
    lines = [vars(record) for record in caplog.records if record.name == "arqway.service.access.audit"]

    assert answer.status_code == 200
    assert [line["levelname"] for line in lines] == ["INFO", "WARNING"]
    assert _done(lines[0]) == _done(lines[1])
    assert (lines[0]["key_id"], lines[0]["key_name"], lines[0]["tenant"]) == ("", "anonymous", "default")


async def test_a_stream_may_not_outlive_its_key(settings: Settings) -> None:
    """Who began it may go on as long as their key can be used."""
    token = await make_key(settings)
    async with client_of(service_settings(settings, auth="keys")) as client:
        assert (await client.get("/ask", headers=bearer(token))).text == "True False"


async def test_a_stream_goes_on_while_redis_is_away(nowhere: ServiceSettings) -> None:
    """Nobody is thrown out because Redis cannot say whether their key is still good."""
    with valkey() as server:
        settings = ServiceSettings.model_validate({**nowhere.model_dump(), "redis_url": server.url, "auth": "keys"})
        token = await make_key(settings)
        app = create_app(settings, JOBS)

        async def away(request: Request) -> PlainTextResponse:
            server.stop()
            request.scope["callers"]._known.clear()
            return PlainTextResponse(str(await still_admitted(request)))

        app.add_route("/away", away)
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as client,
        ):
            assert (await client.get("/away", headers=bearer(token))).text == "True"
        server.start()
