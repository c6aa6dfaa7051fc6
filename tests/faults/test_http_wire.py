"""Clients that mean harm, or are gone: the service answers them or hangs up, and serves the others."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis
from starlette.responses import StreamingResponse

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from arqway.workers.contract import keys
from tests.faults.conftest import Measured
from tests.support.fault_workers import FaultyValkey
from tests.support.http import assert_problem, served, served_client
from tests.support.http_jobs import JOBS
from tests.support.http_process import ServiceProcess, service_process
from tests.support.proxy import proxy
from tests.support.raw_http import RawConnection, crowd, raw_connection, request, still_open
from tests.support.waiting import wait_until

NOWHERE = "redis://127.0.0.1:1"
CROWD = 10_000
FILES_KEPT = 500
"""Open files of this process, and of the service, that are none of the crowd's."""
BYTES_EACH = 12_000
SLACK_BYTES = 32_000_000
JSON = {"content-type": "application/json"}
HEAD = b"POST /jobs/test.anything HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIVE = request("GET", "/livez")


def crowd_size() -> int:
    """Return how many connections this machine allows: fewer than 10,000 where a process may not open as many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = CROWD * 2 if hard == resource.RLIM_INFINITY else hard
    return min(CROWD, files * 3 // 4 - FILES_KEPT)


async def served_within(service: ServiceProcess, seconds: float) -> float:
    """Check that twenty other clients are served, and return the time of the slowest."""
    took_s = []
    for _ in range(20):
        began_s = time.monotonic()
        async with httpx.AsyncClient(base_url=service.url, timeout=seconds) as client:
            assert (await client.get("/livez")).status_code == 200
        took_s.append(time.monotonic() - began_s)
    return max(took_s)


async def test_ten_thousand_idle_connections(tmp_path: Path, measured: Measured) -> None:
    """They cost little memory, keep nobody else waiting and are closed in time; another crowd costs no more."""
    size = crowd_size()
    async with service_process(tmp_path, NOWHERE, header_timeout_s=6) as service:
        before = service.memory_bytes
        with crowd(service.url, size) as clients:
            assert still_open(clients) == size
            slowest_s = await served_within(service, 2)
            assert still_open(clients) == size
            peak = service.memory_bytes
            await wait_until(lambda: still_open(clients) == 0, "all are closed", timeout_s=20)
        with crowd(service.url, size):
            await served_within(service, 2)
            again = service.memory_bytes
    measured("idle connections", size)
    measured("memory for each of them, bytes", (peak - before) // size)
    measured("slowest answer to another client beside them", [slowest_s])
    assert peak - before < size * BYTES_EACH
    assert again - peak < (peak - before) // 2


async def drip_body(service: ServiceProcess) -> httpx.Response:
    """Send a body a byte at a time until there is an answer."""
    async with raw_connection(service.url) as client:
        await client.send(HEAD + b"Content-Length: 100000\r\n\r\n[")
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            await client.send(b" ")
            await asyncio.wait([answer], timeout=0.05)
        assert await client.rest() == b""
        return answer.result()


async def test_bodies_that_drip_are_ended(tmp_path: Path) -> None:
    """A hundred bodies that come a byte at a time all end with a 408, and others are served meanwhile."""
    async with service_process(tmp_path, NOWHERE, body_timeout_s=1) as service:
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            slow = [group.create_task(drip_body(service)) for _ in range(100)]
            await served_within(service, 2)
        assert time.monotonic() - began_s < 10
        for answer in slow:
            assert_problem(answer.result(), 408, "request_timeout")
            assert answer.result().headers["connection"] == "close"


async def megabytes(count: int) -> AsyncIterator[bytes]:
    """Give a body of an undeclared size."""
    for _ in range(count):
        yield b" " * 1_000_000


async def flood(client: RawConnection, start: bytes, part: bytes) -> bytes:
    """Send far more than any limit, and return what the service said to it."""
    answer = asyncio.create_task(client.rest())
    await client.send(start)
    for _ in range(100):
        await client.send(part * (500_000 // len(part)))
        if answer.done():
            break
    return await answer


async def test_floods_do_not_stay_in_memory(tmp_path: Path, measured: Measured) -> None:
    """Endless bodies, heads, chunks and trailers are refused, and the service is as large afterwards as before."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    async with service_process(tmp_path, NOWHERE) as service, httpx.AsyncClient(base_url=service.url) as client:
        await client.get("/livez")
        before = service.memory_bytes
        for _ in range(3):
            declared = await client.post("/jobs/test.anything", content=b" " * 10_000_000, headers=JSON)
            assert_problem(declared, 413, "body_too_large")
            grown = await client.post("/jobs/test.anything", content=megabytes(10), headers=JSON)
            assert_problem(grown, 413, "body_too_large")
            for start, part, status in (
                (b"GET / HTTP/1.1\r\nx: ", b"y", b"431"),
                (b"GET / HTTP/1.1\r\n", b"x: y\r\n", b"431"),
                (chunked, b"1;" + b"x" * 998, b"431"),
                (chunked + b"0\r\n", b"x: y\r\n", b"431"),
                (b"", b"\x00", b"400"),
            ):
                async with raw_connection(service.url) as raw:
                    assert (await flood(raw, start, part)).startswith(b"HTTP/1.1 " + status)
        grown_bytes = service.memory_bytes - before
        await served_within(service, 2)
    measured("memory that floods left behind, bytes", grown_bytes)
    assert grown_bytes < SLACK_BYTES


async def test_clients_that_vanish_leave_nothing(tmp_path: Path) -> None:
    """Gone within a head, a body or an answer: no open file stays, no traceback comes, and the service serves on."""
    body = HEAD + b"Expect: 100-continue\r\nContent-Length: 50\r\n\r\n"
    async with service_process(tmp_path, NOWHERE) as service:
        await served_within(service, 2)
        before = service.open_files
        for sent, first in [(b"GET /li", b""), (body, b"HTTP/1.1 100 "), (LIVE * 90, b"HTTP/1.1 200 ")] * 30:
            async with raw_connection(service.url, receive_bytes=2_048) as client:
                await client.send(sent)
                if first:
                    assert (await client.read()).startswith(first)
                    await client.send(b"[1, ")
                client.vanish()
        await wait_until(lambda: service.open_files <= before, "the service has closed them")
        await wait_until(lambda: service.log.count('"status": 499') == 30, "each body's end was noted")
        await served_within(service, 2)
        assert '"level": "error"' not in service.log


async def test_an_answer_ends_with_its_client(nowhere: ServiceSettings, caplog: pytest.LogCaptureFixture) -> None:
    """What makes the answer is ended too, whether it waits or writes; no task is left, and no error is logged."""
    ended: list[float] = []

    async def parts(pause_s: float) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(pause_s)
        finally:
            ended.append(pause_s)

    app = create_app(nowhere, JOBS)

    @app.get("/endless")
    async def endless(pause_s: float) -> StreamingResponse:
        return StreamingResponse(parts(pause_s))

    tasks = len(asyncio.all_tasks())
    async with served(app, nowhere) as server:
        for pause_s in (0, 600):
            async with raw_connection(server.url, receive_bytes=2_048) as client:
                await client.send(request("GET", f"/endless?pause_s={pause_s}"))
                assert (await client.read()).startswith(b"HTTP/1.1 200 ")
                client.vanish()
        await wait_until(lambda: sorted(ended) == [0, 600], "both are ended")
        await wait_until(lambda: not server.state.tasks and not server.state.connections, "nothing is served")
    assert len(asyncio.all_tasks()) <= tasks
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_redis_gone_within_a_request_is_a_503(
    server: FaultyValkey, nowhere: ServiceSettings, client: Redis
) -> None:
    """Who waits for its answer gets a 503 at once, and may come again; when Redis is back all goes on."""

    def accepted() -> int:
        return len(list(client.scan_iter(f"{keys.RECORD_PREFIX}*")))

    async with proxy(server.socket) as through:
        settings = nowhere.model_copy(update={"redis_url": SecretStr(through.url)})
        async with served_client(settings, JOBS) as http:
            location = (await http.post("/jobs/test.sum", json=[1])).headers["location"]
            assert (await http.get(location)).status_code == 200
            for link in through.links:
                link.open.clear()
            waiting = [asyncio.create_task(http.post("/jobs/test.sum", json=[2]))]
            await wait_until(lambda: accepted() == 2, "Redis has the job, and its reply is under way")
            waiting.append(asyncio.create_task(http.get(location)))
            through.go_away()
            for answer in await asyncio.gather(*waiting):
                assert_problem(answer, 503, "store_unavailable")
                assert answer.headers["retry-after"] == "1"
            through.come_back()
            assert (await http.get(location)).status_code == 200
