"""What bodies may cost: how long one may take, and how much all together may hold."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from arqway.service.app import create_app
from arqway.service.http.middleware import BodyLimit
from arqway.service.problems.errors import ServiceBusy
from arqway.service.settings import ServiceSettings
from tests.support.http import assert_problem, served
from tests.support.http_jobs import JOBS
from tests.support.raw_http import raw_connection, request
from tests.support.waiting import wait_until

MAX_BYTES = 1_000
HEAD = request(
    "POST", "/reports", "Content-Type: application/json", "Transfer-Encoding: chunked", "X-Request-ID: abc-1"
)
POST: Scope = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a body to its end."""
    while (await receive()).get("more_body"):
        pass


async def nothing(message: Message) -> None:
    """Send it nowhere."""


class Trickle:
    """A body that has so many bytes, and then waits to be told its end."""

    def __init__(self, size: int) -> None:
        self.end = asyncio.Event()
        self._parts = [b"x" * size]

    async def receive(self) -> Message:
        """Return the next part."""
        if self._parts:
            return {"type": "http.request", "body": self._parts.pop(), "more_body": True}
        await self.end.wait()
        return {"type": "http.request", "body": b"", "more_body": False}


async def test_all_bodies_together_are_bounded() -> None:
    """Bodies that are held, each within its limit, are refused once they are too many; when they end, others go on."""
    limit = partial(BodyLimit(MAX_BYTES).serve, read_all)
    held = [Trickle(MAX_BYTES) for _ in range(256)]
    tasks = [asyncio.create_task(limit(POST, body.receive, nothing)) for body in held]
    await asyncio.sleep(0)
    with pytest.raises(ServiceBusy):
        await limit(POST, Trickle(MAX_BYTES).receive, nothing)
    for body in held:
        body.end.set()
    await asyncio.gather(*tasks)
    again = Trickle(MAX_BYTES)
    again.end.set()
    await limit(POST, again.receive, nothing)


async def test_a_body_has_its_time_in_all_and_not_for_each_part(nowhere: ServiceSettings) -> None:
    """However many parts come in time, the whole is late when the time is over: a 408, which ends the connection."""
    settings = nowhere.model_copy(update={"body_timeout_s": 0.3})
    async with served(create_app(settings, JOBS), settings) as server, raw_connection(server.url) as client:
        await client.send(HEAD)
        answering = asyncio.create_task(client.answer())
        while not answering.done():
            await client.send(b"1\r\n \r\n")
            await asyncio.wait([answering], timeout=0.02)
        answer = await answering
        assert_problem(answer, 408, "request_timeout")
        assert (answer.headers["connection"], answer.headers["x-request-id"]) == ("close", "abc-1")
        assert await client.rest() == b""
        await wait_until(lambda: not server.state.tasks, "nothing is served any more")


async def test_a_body_may_take_longer_than_a_head(nowhere: ServiceSettings) -> None:
    """Its time is its own, from when the head was complete."""
    settings = nowhere.model_copy(update={"header_timeout_s": 0.1})
    async with served(create_app(settings, JOBS), settings) as server, raw_connection(server.url) as client:
        await client.send(HEAD)
        silent = asyncio.create_task(client.read())
        done, _ = await asyncio.wait([silent], timeout=0.4)
        assert not done
        await client.send(b"2\r\n{}\r\n0\r\n\r\n")
        assert (await silent).startswith(b"HTTP/1.1 422 ")


async def test_waiting_for_the_client_to_leave_has_no_limit(nowhere: ServiceSettings) -> None:
    """Once the body is complete a route may take its time, and listen for the client's end as long as it likes."""

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(scope, receive, send)
        try:
            await asyncio.wait_for(receive(), 0.5)
        except TimeoutError:
            await Response("still here")(scope, receive, send)

    settings = nowhere.model_copy(update={"body_timeout_s": 0.1, "header_timeout_s": 0.1})
    async with served(listen, settings) as server, raw_connection(server.url) as client:
        await client.send(HEAD + b"1\r\n[\r\n")
        await wait_until(lambda: server.state.tasks, "the server has the head")
        await client.send(b"1\r\n]\r\n0\r\n\r\n")
        answer = await client.answer()
        assert answer.content == b"still here"
        assert "connection" not in answer.headers


async def test_a_request_behind_a_long_one_is_not_late(nowhere: ServiceSettings) -> None:
    """What is not read because an earlier request is being served may be as late as that is."""

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(scope, receive, send)
        await asyncio.sleep(0.5)
        await Response(scope["path"])(scope, receive, send)

    settings = nowhere.model_copy(update={"body_timeout_s": 0.2, "header_timeout_s": 0.2})
    async with served(slow, settings) as server, raw_connection(server.url) as client:
        await client.send(request("GET", "/first") + HEAD)
        assert (await client.answer()).content == b"/first"
        await client.send(b"0\r\n\r\n")
        assert (await client.answer()).content == b"/reports"


@pytest.mark.parametrize("size", [b"5", b"1000000000"])
async def test_a_body_that_comes_with_a_stream_is_no_bug(
    nowhere: ServiceSettings, caplog: pytest.LogCaptureFixture, size: bytes
) -> None:
    """A GET that declares a body and never sends it gets its stream to the end, and no error is logged."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 100
            await asyncio.sleep(0.05)

    settings = nowhere.model_copy(update={"body_timeout_s": 0.2})
    app = create_app(settings, JOBS)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(parts(), headers={"Content-Length": "1000"})

    async with served(app, settings) as server, raw_connection(server.url) as client:
        await client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + size + b"\r\n\r\n")
        assert (await client.answer()).content == b"x" * 1_000
        await wait_until(lambda: not server.state.tasks, "nothing is served any more")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
