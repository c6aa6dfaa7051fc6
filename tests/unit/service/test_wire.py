"""What a connection may cost: how long it may be silent, how large a head may be, how many there may be."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import product

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from arqway.service.app import create_app
from arqway.service.settings import ServiceSettings
from tests.support.http import Served, assert_problem, served
from tests.support.http_jobs import JOBS
from tests.support.raw_http import RawConnection, crowd, raw_connection, request, still_open
from tests.support.waiting import wait_until

Serve = Callable[..., AbstractAsyncContextManager[Served]]
LIVE = request("GET", "/livez")
HEAD = b"POST /jobs/test.sum HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def serve(nowhere: ServiceSettings) -> Serve:
    """The service behind a real server, with these settings and no Redis."""

    def start(**changes: object) -> AbstractAsyncContextManager[Served]:
        settings = nowhere.model_copy(update=changes)
        return served(create_app(settings, JOBS), settings)

    return start


async def drip(client: RawConnection, data: bytes, *, every_s: float = 0.02) -> bytes:
    """Send a byte at a time until the server has ended the connection, and return what it said."""
    answer = asyncio.create_task(client.rest())
    for at in range(len(data)):
        await client.send(data[at : at + 1])
        done, _ = await asyncio.wait([answer], timeout=every_s)
        if done:
            return b"" if isinstance(answer.exception(), ConnectionError) else answer.result()
    raise AssertionError("the server took it all")


async def is_served(server: Served) -> None:
    """Check that another client gets its answer at once."""
    async with httpx.AsyncClient(base_url=server.url, timeout=2) as client:
        assert (await client.get("/livez")).status_code == 200


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HELO example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\na: \x00\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a length\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
]


async def test_what_is_no_http_is_told_so(serve: Serve) -> None:
    """A 400 as a complete problem with all headers that every answer has; then the connection ends."""
    async with serve() as server:
        for nonsense in NONSENSE:
            async with raw_connection(server.url) as client:
                await client.send(nonsense)
                answer = await client.answer()
                assert_problem(answer, 400, "malformed_request")
                assert answer.headers["connection"] == "close"
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["x-request-id"].isalnum()
                assert "date" in answer.headers
                assert await client.rest() == b""
        await is_served(server)


async def test_a_refused_client_may_go_on_talking(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """It gets the one answer and the end, and not a reset; nobody listens to the rest, and nothing fails."""
    async with serve() as server, raw_connection(server.url) as client:
        await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a length\r\n")
        assert_problem(await client.answer(), 400, "malformed_request")
        await wait_until(lambda: not server.state.tasks, "the request is given up", timeout_s=1)
        for _ in range(20):
            await client.send(b"and so on\r\n" * 10_000)
        assert await client.rest() == b""
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_nonsense_behind_a_request_does_not_spoil_its_answer(serve: Serve) -> None:
    """The request is answered in full, and is the last on that connection."""
    async with serve() as server, raw_connection(server.url) as client:
        await client.send(LIVE + b"\x00\x00\x00\x00")
        answer = await client.answer()
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""


HEADS = [
    b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\na: " + b"b" * 5_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3_000 + b"\r\n",
    b"GET /" + b"a" * 1_000_000,
    b"GET / HTTP/1.1\r\n" + b"a" * 1_000_000,
    b"GET / HTTP/1.1\r\na: " + b"b" * 1_000_000,
]


async def test_a_head_over_the_limit_is_refused(serve: Serve) -> None:
    """Whatever part of it is too large, and on a used connection too: a 431; then the connection ends."""
    async with serve(max_header_bytes=4_096) as server:
        for head, before in product(HEADS, (b"", LIVE)):
            async with raw_connection(server.url) as client:
                if before:
                    await client.send(before)
                    assert (await client.answer()).status_code == 200
                await client.send(head)
                assert_problem(await client.answer(), 431, "headers_too_large")
                assert await client.rest() == b""


async def test_a_head_just_below_the_limit_is_served(serve: Serve) -> None:
    """The limit is what the settings say, and not a byte less."""
    padding = "a: " + "b" * (4_096 - len(LIVE) - len("a: \r\n"))
    async with serve(max_header_bytes=4_096) as server, raw_connection(server.url) as client:
        await client.send(request("GET", "/livez", padding))
        assert (await client.answer()).status_code == 200


async def test_silence_is_ended(serve: Serve) -> None:
    """A connection that says nothing is closed after the time for a head, without a word."""
    async with serve(header_timeout_s=0.3) as server, raw_connection(server.url) as client:
        began_s = time.monotonic()
        assert await client.rest() == b""
        assert 0.25 < time.monotonic() - began_s < 3
        await wait_until(lambda: not server.state.connections, "the server has forgotten the connection")


async def test_a_head_that_drips_is_ended(serve: Serve) -> None:
    """A byte at a time is no way around the limit of time: a 408, while others are served."""
    async with serve(header_timeout_s=0.3) as server:
        async with raw_connection(server.url) as client:
            dripping = asyncio.create_task(drip(client, b"GET / HTTP/1.1\r\nx: " + b"y" * 10_000))
            await is_served(server)
            answer = await dripping
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"urn:arqway:problem:request-timeout" in answer
        await wait_until(lambda: not server.state.connections, "the server has forgotten the connection")


async def test_a_later_head_that_drips_is_ended_too(serve: Serve) -> None:
    """The time counts from a head's first byte, however well the connection was used before."""
    async with serve(header_timeout_s=0.3, keep_alive_s=60) as server:
        for dripped in (b"GET / HTTP/1.1\r\nx: " + b"y" * 10_000, b"\r\n" * 10_000):
            async with raw_connection(server.url) as client:
                await client.send(LIVE)
                assert (await client.answer()).status_code == 200
                answer = await drip(client, dripped)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_nobody_reads_is_not_taken_for_ever(serve: Serve) -> None:
    """Once its request was answered, a body that drips on ends with the connection."""
    async with serve(body_timeout_s=0.3) as server, raw_connection(server.url) as client:
        await client.send(b"POST /jobs/nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        assert_problem(await client.answer(), 404, "unknown_kind")
        assert await drip(client, b"x" * 100_000) == b""


async def test_an_idle_connection_is_ended(serve: Serve) -> None:
    """After ``keep_alive_s`` without a further request."""
    async with serve(keep_alive_s=1) as server, raw_connection(server.url) as client:
        await client.send(LIVE)
        assert (await client.answer()).status_code == 200
        assert await client.rest() == b""


async def test_a_connection_over_the_limit_is_told_when_to_come_again(serve: Serve) -> None:
    """A 503 with Retry-After, while those that are open are served; once one has gone, another is let in."""
    async with serve(max_connections=2) as server, raw_connection(server.url) as first:
        await first.send(LIVE)
        assert (await first.answer()).status_code == 200
        with crowd(server.url, 1):
            await wait_until(lambda: len(server.state.connections) == 2, "both are open")
            async with raw_connection(server.url) as third:
                answer = await third.answer()
                assert_problem(answer, 503, "service_busy")
                assert answer.headers["retry-after"] == "5"
                assert await third.rest() == b""
            await first.send(LIVE)
            assert (await first.answer()).status_code == 200
        await wait_until(lambda: len(server.state.connections) == 1, "two have gone")
        await is_served(server)


async def test_a_large_body_that_is_refused_can_be_sent_to_its_end(serve: Serve) -> None:
    """A client that writes its 10 MB before it reads gets the 413, and its connection serves on."""
    async with serve() as server, raw_connection(server.url) as client:
        await client.send(request("POST", "/jobs/test.sum", body=b" " * 10_000_000))
        assert_problem(await client.answer(), 413, "body_too_large")
        await client.send(LIVE)
        assert (await client.answer()).status_code == 200


async def test_a_client_that_takes_nothing_is_cut_off(nowhere: ServiceSettings) -> None:
    """An answer that is not read ends after ``send_timeout_s``, with all that it held."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    settings = nowhere.model_copy(update={"send_timeout_s": 0.3})
    async with served(app, settings) as server, raw_connection(server.url, receive_bytes=4_096) as client:
        await client.send(LIVE)
        await wait_until(lambda: server.state.tasks, "the answer has begun")
        await wait_until(lambda: not server.state.connections and not server.state.tasks, "nothing of it is left")


async def test_a_slow_reader_gets_everything(nowhere: ServiceSettings) -> None:
    """Who takes an answer slowly, but does take it, is not cut off."""
    size = 20_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size})

    settings = nowhere.model_copy(update={"send_timeout_s": 0.5})
    async with served(app, settings) as server, raw_connection(server.url, receive_bytes=65_536) as client:
        await client.send(LIVE)
        got, began_s = 0, time.monotonic()
        while got < size and (data := await client.read()):
            got += len(data)
            await asyncio.sleep(0.002)
        assert got >= size
        assert time.monotonic() - began_s > settings.send_timeout_s


async def test_a_request_that_asks_for_another_protocol_keeps_its_body(serve: Serve) -> None:
    """As Java's HttpClient asks: it is served over HTTP/1.1, and so is the next on its connection."""
    async with serve() as server, raw_connection(server.url) as client:
        for wish in ("h2c", "websocket"):
            upgrade = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {wish}", "HTTP2-Settings: AAEAAEAA")
            await client.send(request("POST", "/jobs/test.sum", *upgrade, body=b'["no number"]'))
            assert_problem(await client.answer(), 422, "invalid_payload")
        await client.send(LIVE)
        assert (await client.answer()).status_code == 200


async def test_open_connections_do_not_hold_up_the_end(serve: Serve) -> None:
    """The server stops at once, whatever state its connections are in."""
    async with serve() as server:
        began_s = time.monotonic()
        with crowd(server.url, 5) as clients:
            await wait_until(lambda: len(server.state.connections) == 5, "all are open")
            clients[0].send(b"GET / HT")
            clients[1].send(b"nonsense\r\n")
            await wait_until(lambda: still_open(clients[1:2]), "an answer came")
    assert time.monotonic() - began_s < 5
