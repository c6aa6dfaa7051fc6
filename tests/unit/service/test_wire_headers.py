"""What browsers are told: which headers every answer has, and what scripts of other origins may send and read."""

import pytest
from starlette.responses import HTMLResponse

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from tests.support.http import api_client, served
from tests.support.http_jobs import JOBS
from tests.support.raw_http import raw_connection, request

EVERY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
POLICY = "default-src 'none'; frame-ancestors 'none'"
SHOP = {"origin": "https://shop.test"}


@pytest.mark.parametrize(
    "path", ["/livez", "/nope", "/jobs/a", "/openapi.json", "/docsx", "/jobs/docs", "/docs", "/redoc"]
)
async def test_every_answer_forbids_what_json_does_not_need(nowhere: ServiceSettings, path: str) -> None:
    """Whatever the status; pages for people are free to load their scripts."""
    async with api_client(nowhere, JOBS) as client:
        headers = (await client.get(path)).headers
    assert EVERY.items() <= dict(headers).items()
    assert headers.get("content-security-policy") == (None if path in ("/docs", "/redoc") else POLICY)
    assert all(len(headers.get_list(name)) == 1 for name in headers)


async def test_an_answer_may_say_otherwise(nowhere: ServiceSettings) -> None:
    """A route's own header stands, and is the only one of its name."""
    app = create_app(nowhere, JOBS)

    @app.get("/own")
    async def own() -> HTMLResponse:
        return HTMLResponse("", headers={"Cache-Control": "private", "Content-Security-Policy": "default-src 'self'"})

    async with served(app, nowhere) as server, raw_connection(server.url) as client:
        await client.send(request("GET", "/own"))
        headers = (await client.answer()).headers
    assert headers.get_list("cache-control") == ["private"]
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]


async def test_scripts_of_a_named_origin_may_use_the_whole_contract(nowhere: ServiceSettings) -> None:
    """They may send each header that a route reads, and read each that an answer may have."""
    sent = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, prefer, x-request-id"
    settings = nowhere.model_copy(update={"cors_origins": ("https://shop.test",)})
    async with api_client(settings, JOBS) as client:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": sent}
        allowed = await client.options("/reports", headers={**SHOP, **asked})
        refused = await client.options("/reports", headers={**SHOP, **asked, "access-control-request-headers": "x-own"})
        answer = await client.get("/livez", headers=SHOP)
    assert allowed.status_code == 200
    assert refused.status_code == 400
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert set(exposed) == {
        "etag",
        "idempotency-replayed",
        "link",
        "location",
        "preference-applied",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "x-request-id",
    }
