"""However the network cuts what clients send, the same requests are served and the same are refused."""

import asyncio
import gc
import json
import re
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from arqway.service.server.server import server_config
from arqway.service.server.wire import GuardedProtocol
from arqway.service.settings import ServiceSettings
from tests.support.waiting import wait_until

LIMIT = 1_024
TURNS = 10
TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
BODY = st.binary(max_size=300)


class Recorder(asyncio.Transport):
    """What a connection writes, and whether it has hung up."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note bytes."""
        self.written += bytes(data)

    def end(self) -> None:
        """Note the end, whichever kind it is."""
        self.ended = True

    close = abort = write_eof = end

    def is_closing(self) -> bool:
        """Tell whether it has ended."""
        return self.ended

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def pause_reading(self) -> None:
        """Nothing is read here."""

    resume_reading = pause_reading


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what came."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    told = json.dumps([scope["method"], scope["path"], len(scope["headers"]), body.hex()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


def connection(transport: Recorder, *, others: int = 0, **changes: object) -> GuardedProtocol:
    """Open a connection to ``echo``, beside so many others."""
    values = {"redis_url": "redis://127.0.0.1:1", "max_header_bytes": LIMIT, "access_log": False, **changes}
    config = server_config(echo, ServiceSettings.model_validate(values))
    config.lifespan = "off"
    config.load()
    state = ServerState()
    state.connections |= {object() for _ in range(others)}  # type: ignore[misc]  # only their number matters
    protocol = GuardedProtocol(config, state, {})
    protocol.connection_made(transport)
    return protocol


async def settle(transport: Recorder) -> None:
    """Return once nothing more is written, however often the loop turns."""
    turns, written = 0, 0
    while turns < TURNS:
        await asyncio.sleep(0)
        turns = turns + 1 if len(transport.written) == written else 0
        written = len(transport.written)


def answers(reads: list[bytes]) -> Recorder:
    """Return what the server writes to a client that sends these."""

    async def serve() -> Recorder:
        transport = Recorder()
        protocol = connection(transport)
        for read in reads:
            protocol.data_received(read)
            await settle(transport)
        hung_up = transport.ended
        protocol.connection_lost(None)
        await wait_until(lambda: not protocol.tasks, "nothing is served any more")
        transport.ended = hung_up
        return transport

    return asyncio.run(serve())


def statuses(transport: Recorder) -> list[int]:
    """Return the statuses of the answers."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", transport.written)]


def told(transport: Recorder) -> list[list[Any]]:
    """Return what ``echo`` answered."""
    parts = transport.written.split(b"\r\n\r\n")[1:]
    return [json.loads(part.partition(b"HTTP/1.1")[0]) for part in parts]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """Draw a sound request, and what ``echo`` makes of it."""
    method, path = draw(st.sampled_from(["GET", "POST"])), "/" + draw(TOKEN)
    names = draw(st.lists(TOKEN.map("x-{}".format), max_size=5))
    headers = [f"{name}: {draw(TOKEN)}" for name in names]
    counted = len(headers)
    if draw(st.booleans()):
        headers += ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"]
        counted += 1  # the wish itself is not passed on
    body, framed = draw(BODY), b""
    match draw(st.sampled_from(["none", "length", "chunks"])):
        case "none":
            body = b""
        case "length":
            headers.append(f"content-length: {len(body)}")
            framed = body
        case "chunks":
            headers.append("transfer-encoding: chunked")
            step = draw(st.integers(1, 50))
            pieces = [body[at : at + step] for at in range(0, len(body), step)]
            framed = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            framed += b"0\r\n" + draw(st.sampled_from([b"", b"x-trailer: 1\r\n"])) + b"\r\n"
    counted += bool(framed) or "content-length: 0" in headers
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""])
    return head.encode() + framed, [method, path, counted, body.hex()]


@st.composite
def reads(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut ``data`` anywhere."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8)))
    return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if data[begin:end]]


@given(st.data(), st.lists(requests(), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_requests_are_served_however_they_are_cut(data: st.DataObject, asked: list[tuple[bytes, list[Any]]]) -> None:
    """One after the other or pipelined, with bodies of any framing, asking for another protocol or not."""
    transport = answers(data.draw(reads(b"".join(request for request, _ in asked))))
    assert told(transport) == [what for _, what in asked]
    assert not transport.ended


@given(st.data(), st.integers(1, 3_000), st.integers(1, 3_000))
@settings(max_examples=100, deadline=None)
def test_a_head_is_refused_by_its_size_alone(data: st.DataObject, path_bytes: int, header_bytes: int) -> None:
    """A head within the limit is served and one beyond it is a 431, wherever it is cut."""
    head = b"GET /" + b"p" * path_bytes + b" HTTP/1.1\r\nx: " + b"v" * header_bytes + b"\r\n\r\n"
    transport = answers(data.draw(reads(head)))
    content = path_bytes + header_bytes + len("/x")
    if len(head) <= LIMIT:
        assert (statuses(transport), transport.ended) == ([200], False)
    elif content > LIMIT:
        assert (statuses(transport), transport.ended) == ([431], True)
    else:  # the bytes between the parts count only where the head comes in several reads
        assert statuses(transport) in ([200], [431])


@given(st.data(), st.binary(max_size=200), requests())
@settings(max_examples=150, deadline=None)
def test_nonsense_gets_one_answer_at_most(data: st.DataObject, noise: bytes, asked: tuple[bytes, list[Any]]) -> None:
    """Whatever bytes come, each answer is a 200 or the refusal that ends the connection; nothing is raised."""
    transport = answers(data.draw(reads(data.draw(st.sampled_from([noise + asked[0], asked[0] + noise])) or b"\n")))
    found = statuses(transport)
    assert set(found[:-1]) <= {200}
    assert found[-1:] in ([], [200]) or (found[-1] in (400, 431) and transport.ended)


def test_a_flood_in_one_read_is_cut_short() -> None:
    """Of a thousand requests in one read a hundred are answered, in order; then the connection ends."""
    transport = answers([b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(1_000))])
    assert [path for _, path, *_ in told(transport)] == [f"/{number}" for number in range(101)]
    assert transport.ended


def test_a_large_head_behind_another_request_is_refused_too() -> None:
    """Also where both come in one read: the first is answered, and the connection ends with it."""
    transport = answers([b"GET /a HTTP/1.1\r\n\r\nGET /" + b"b" * LIMIT + b" HTTP/1.1\r\n\r\n"])
    assert (told(transport), transport.ended) == ([["GET", "/a", 0, ""]], True)


def test_a_connection_may_be_used_for_long() -> None:
    """Each request has the whole limit to itself, however many came before."""
    head = b"GET /a HTTP/1.1\r\nx: " + b"y" * (LIMIT // 2) + b"\r\n\r\n"
    transport = answers([head[:30], *([head[30:] + head[:30]] * 20)])
    assert (statuses(transport), transport.ended) == ([200] * 20, False)


async def test_nothing_holds_a_connection_that_is_lost() -> None:
    """Neither a timer nor a collection: a client that goes away at once costs nothing from then on."""
    protocol = connection(Recorder())
    protocol.data_received(b"GET / HT")
    protocol.pause_writing()
    protocol.connection_lost(ConnectionResetError())
    held = weakref.ref(protocol)
    del protocol
    gc.collect()
    assert held() is None


@pytest.mark.parametrize(
    "endless",
    [
        b"5;" + b"x" * 10_000,
        b"0\r\nx: " + b"v" * 10_000,
        b"0\r\n" + b"x: v\r\n" * 2_000,
        b"5000\r\n" + b"a" * 0x5000 + b"\r\n0\r\n" + b"x: v\r\n" * 2_000,
    ],
    ids=["extension", "trailer", "trailers", "trailers of a body"],
)
def test_what_frames_a_body_is_bounded_too(endless: bytes) -> None:
    """Extensions of chunks and trailers are refused beyond the limit of a head, and never kept."""
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    transport = answers([head, *(endless[at : at + 500] for at in range(0, len(endless), 500))])
    assert (statuses(transport), transport.ended) == ([431], True)


def test_a_body_in_single_bytes_is_no_attack() -> None:
    """A chunk for each byte is the costliest framing there is, and is served."""
    body = b"1\r\na\r\n" * 5_000
    transport = answers([b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", body, b"0\r\n\r\n"])
    assert told(transport) == [["POST", "/", 1, (b"a" * 5_000).hex()]]


async def test_a_crowd_is_told_and_a_mob_is_cut_off() -> None:
    """A connection over the limit gets a 503 and ends; far over it, it ends without the cost of an answer."""
    told_so, cut_off = Recorder(), Recorder()
    one = connection(told_so, others=10, max_connections=10)
    other = connection(cut_off, others=10_000, max_connections=10)
    assert (statuses(told_so), told_so.ended) == ([503], True)
    assert (statuses(cut_off), cut_off.ended) == ([], True)
    one.connection_lost(None)
    other.connection_lost(None)
