"""What clients see when Redis is away, when bodies are too large, and when we have a bug."""

import logging
from collections.abc import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from tests.support.http import BASE_URL, OpenApi, api_client, assert_problem
from tests.support.http_jobs import JOBS, SECRET
from tests.support.redis_server import valkey

JSON = {"content-type": "application/json"}


async def in_chunks(total: int, size: int = 1_000) -> AsyncIterator[bytes]:
    """Give a body whose size nobody declared."""
    for _ in range(total // size):
        yield b" " * size


async def test_the_service_starts_and_lives_without_redis(nowhere: ServiceSettings) -> None:
    """Where nothing listens the service is alive but not ready, and every call that needs Redis is a 503."""
    async with api_client(nowhere, JOBS) as client:
        alive = await client.get("/livez")
        answers = [
            await client.get("/readyz"),
            await client.post("/reports", json={"user_id": 1}),
            await client.get("/reports/a"),
            await client.post("/jobs/test.sum", json=[1]),
            await client.get("/jobs/a"),
            await client.post("/jobs/a:cancel"),
        ]

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    for answer in answers:
        assert_problem(answer, 503, "store_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert "127.0.0.1" not in answer.text


async def test_redis_may_go_and_come_back(nowhere: ServiceSettings) -> None:
    """A server that stops turns answers into 503; once it is back the same service serves again, and lost no job."""
    with valkey() as server:
        settings = ServiceSettings.model_validate({**nowhere.model_dump(), "redis_url": server.url})
        async with api_client(settings, JOBS) as client:
            location = (await client.post("/jobs/test.sum", json=[1])).headers["location"]
            server.stop()
            assert_problem(await client.get(location), 503, "store_unavailable")
            assert_problem(await client.post("/jobs/test.sum", json=[1]), 503, "store_unavailable")
            assert_problem(await client.get("/readyz"), 503, "store_unavailable")
            server.start()
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get(location)).json()["state"] == "queued"


async def test_wrong_input_is_told_without_redis(nowhere: ServiceSettings) -> None:
    """What the client can mend is a 4xx whether or not Redis answers."""
    async with api_client(nowhere, JOBS) as client:
        assert_problem(await client.post("/reports", json={}), 422, "invalid_payload")
        assert_problem(await client.post("/jobs/nope", json={}), 404, "unknown_kind")
        assert_problem(await client.get("/jobs/a b"), 404, "job_not_found")


async def test_a_body_of_a_declared_size_over_the_limit_is_refused(api: OpenApi) -> None:
    """413 by Content-Length alone: not a byte of the body is asked for."""

    async def never_asked() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async with api(JOBS, max_body_bytes=1_000) as client:
        headers = {**JSON, "content-length": "1001"}
        response = await client.post("/jobs/test.sum", content=never_asked(), headers=headers)

    assert_problem(response, 413, "body_too_large")


async def test_the_largest_body_is_accepted(api: OpenApi) -> None:
    """A body of exactly the limit passes, declared or not."""
    body = b"[1]" + b" " * 997
    async with api(JOBS, max_body_bytes=1_000) as client:
        assert (await client.post("/jobs/test.sum", content=body, headers=JSON)).status_code == 202
        assert_problem(await client.post("/jobs/test.sum", content=in_chunks(1_000), headers=JSON), 400, "not_json")


async def test_a_growing_body_is_refused_on_the_wire(served_api: OpenApi) -> None:
    """A chunked body is a 413 as soon as it is over the limit, and so is a declared one; the server serves on."""
    async with served_api(JOBS, max_body_bytes=10_000) as client:
        assert_problem(
            await client.post("/jobs/test.sum", content=in_chunks(50_000), headers=JSON), 413, "body_too_large"
        )
        assert_problem(await client.post("/reports", content=b" " * 50_000, headers=JSON), 413, "body_too_large")
        assert (await client.post("/jobs/test.sum", json=[1])).status_code == 202


async def test_a_bug_is_a_500_that_tells_nothing(nowhere: ServiceSettings, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a problem and an id; the log has the exception, once."""
    app = create_app(nowhere, JOBS)

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError(SECRET)

    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=BASE_URL) as client,
    ):
        response = await client.get("/bug", headers={"x-request-id": "abc-1"})

    assert_problem(response, 500, "internal_error")
    assert SECRET not in response.text
    assert response.headers["x-request-id"] == "abc-1"
    assert [record.exc_text or str(record.exc_info) for record in caplog.records if record.exc_info]
    assert caplog.text.count(f"RuntimeError: {SECRET}") == 1


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "<script>", "é"])
async def test_a_request_id_that_could_harm_a_log_is_replaced(nowhere: ServiceSettings, given: str) -> None:
    """Only short plain ids are taken over; any other request gets a fresh one."""
    async with api_client(nowhere, JOBS) as client:
        response = await client.get("/livez", headers={b"x-request-id": given.encode()})

    assert response.headers["x-request-id"].isalnum()
    assert response.headers["x-request-id"] != given


async def test_every_answer_has_the_headers_that_browsers_need(nowhere: ServiceSettings) -> None:
    """Whatever the status: not sniffed, not framed, not stored."""
    async with api_client(nowhere, JOBS) as client:
        for path in ("/livez", "/nope", "/jobs/a", "/docs"):
            headers = (await client.get(path)).headers
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["x-frame-options"] == "DENY"


async def test_what_http_itself_refuses_is_a_problem_too(nowhere: ServiceSettings) -> None:
    """An unknown path is a 404 and a wrong method a 405 with Allow, both as problems."""
    async with api_client(nowhere, JOBS) as client:
        assert_problem(await client.get("/nope"), 404, "not_found")
        refused = await client.delete("/livez")

    assert_problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_each_request_is_logged_once_without_its_payload(
    nowhere: ServiceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has method, path template, status and duration; no id of a job, no payload. Probes log at debug."""
    with caplog.at_level(logging.INFO, "arqway.service"):
        async with api_client(nowhere, JOBS) as client:
            await client.post("/reports", json={"user_id": -987654321})
            await client.get("/jobs/some-id")
            await client.get("/livez")

    lines = [vars(record) for record in caplog.records if record.getMessage() == "Request"]
    told = [(line["method"], line["path"], line["status"]) for line in lines]
    assert told == [("POST", "/reports", 422), ("GET", "/jobs/{job_id}", 503)]
    assert all(line["duration_ms"] >= 0 for line in lines)
    assert "987654321" not in str(lines)


async def test_only_named_origins_may_call(nowhere: ServiceSettings) -> None:
    """CORS is off unless origins are named, and then open to those alone."""
    settings = nowhere.model_copy(update={"cors_origins": ("https://shop.test",)})
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    async with api_client(settings, JOBS) as client:
        allowed = await client.options("/reports", headers={"origin": "https://shop.test", **asked})
        refused = await client.options("/reports", headers={"origin": "https://evil.test", **asked})

    assert allowed.headers["access-control-allow-origin"] == "https://shop.test"
    assert "access-control-allow-origin" not in refused.headers
