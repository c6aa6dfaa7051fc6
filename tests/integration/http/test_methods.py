"""Methods and paths that no route names: HEAD, OPTIONS, what a path does not allow, and what is no path."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from starlette.routing import Route

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from tests.support.http import OpenApi, assert_problem
from tests.support.http_jobs import JOBS

_APP = create_app(ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1"}), JOBS)
READABLE = sorted({route.path for route in _APP.routes if isinstance(route, Route) and "GET" in (route.methods or ())})
STREAMS = {"/events", "/jobs/{job_id}/events", "/batches/{batch_id}/events"}
_CHANGING = {"date", "x-request-id"}


@pytest.fixture
async def client(served_api: OpenApi) -> AsyncIterator[AsyncClient]:
    """A service behind a real server, whose bytes on the wire count."""
    async with served_api(JOBS) as client:
        yield client


async def test_whatever_can_be_read_can_be_asked_for_its_head(client: AsyncClient) -> None:
    """HEAD has the status and the headers of GET, and no body; of a stream too, which it does not open."""
    job = (await client.post("/jobs/test.sum?delay=60", json=[1])).json()["id"]
    waiting = {"kind": "test.sum", "payload": [1], "delay": 60}
    batch = (await client.post("/jobs:batch", json={"jobs": [waiting]})).json()
    names = {"job_id": job, "batch_id": batch["id"], "task_id": job, "slug": "not-json", "kind": "test.sum"}
    for path in READABLE:
        head = await client.head(path.format(**names))
        assert head.content == b""
        if path in STREAMS:
            assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
            continue
        get = await client.get(path.format(**names))
        assert head.status_code == get.status_code
        assert {name: value for name, value in head.headers.items() if name not in _CHANGING} == {
            name: value for name, value in get.headers.items() if name not in _CHANGING
        }, path


ALLOWED = {
    "/jobs": "GET, HEAD, OPTIONS",
    "/jobs/some-id": "GET, HEAD, OPTIONS",
    "/jobs/some-id:cancel": "OPTIONS, POST",
    "/jobs/test.sum": "OPTIONS, POST",
    "/jobs:batch": "OPTIONS, POST",
    "/batches/some-id": "GET, HEAD, OPTIONS",
    "/batches/some-id:retry-failed": "OPTIONS, POST",
    "/reports/some-id/file": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
}


async def test_a_path_tells_what_it_allows(client: AsyncClient) -> None:
    """OPTIONS is answered with it and nothing else; any other method is a 405 that names it."""
    for path, allow in ALLOWED.items():
        asked = await client.options(path)
        assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allow, b"")
        for method in ("DELETE", "PUT", "PATCH", "TRACE"):
            refused = await client.request(method, path)
            assert_problem(refused, 405, "method_not_allowed")
            assert refused.headers["allow"] == allow


async def test_another_spelling_of_a_path_is_another_path(client: AsyncClient) -> None:
    """404, and no redirect, which would send a key and a payload a second time, perhaps without TLS."""
    for path in ("/jobs/", "/jobs:batch/", "/livez/", "/", "/jobs/a/b", "/JOBS", "/jobs/a/"):
        for method in ("GET", "POST"):
            assert_problem(await client.request(method, path), 404, "not_found")


async def test_with_keys_a_stranger_learns_no_methods(api: OpenApi) -> None:
    """401 for every method on every path that is not public."""
    async with api(JOBS, auth="keys") as client:
        for method in ("OPTIONS", "DELETE", "HEAD", "GET", "POST"):
            for path in ("/jobs", "/jobs/some-id", "/nowhere"):
                assert (await client.request(method, path)).status_code == 401
