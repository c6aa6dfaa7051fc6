"""Event streams in trouble: many, Redis away, connections cut, clients that do not read, a service that ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from statistics import quantiles

import pytest
from httpx import AsyncClient
from redis import Redis

from arqway.service.app import create_app
from arqway.workers.contract import keys
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim
from tests.faults.conftest import FULL, Measured
from tests.support.event_streams import EventParser, Listener, listening
from tests.support.fault_workers import FaultyValkey
from tests.support.feeds import end_all
from tests.support.hand_run import HandRun, hand_run
from tests.support.http import Served, served, service_settings
from tests.support.http_jobs import JOBS
from tests.support.http_process import service_process
from tests.support.proxy import Proxy, proxy
from tests.support.raw_http import raw_connection
from tests.support.stream_crowd import Member, crowd_of, stream_request, unchunked
from tests.support.waiting import wait_until

STREAMS = 5_000 if FULL else 1_500
LISTENERS = 1_000 if FULL else 300
LARGE = "x" * 65_536


@pytest.fixture
async def hand(server: FaultyValkey) -> AsyncIterator[HandRun]:
    """A hand that runs jobs."""
    async with hand_run(server.url) as hand:
        yield hand


def ids_of(client: Redis, job_id: str) -> list[str]:
    """Return the ids of the events that a job's stream holds."""
    entries: list[tuple[bytes, object]] = client.xrange(keys.events(job_id))  # type: ignore[assignment]
    return [entry_id.decode() for entry_id, _ in entries]


class Site:
    """A service in this process, and its clients."""

    def __init__(self, redis_url: str, folder: Path, **changes: object) -> None:
        settings = Settings.model_validate({"redis_url": redis_url, "home": folder})
        self.settings = service_settings(settings, access_log=False, **changes)
        self.app = create_app(self.settings, JOBS)

    async def __aenter__(self) -> "Site":
        self._stack = AsyncExitStack()
        self.server: Served = await self._stack.enter_async_context(served(self.app, self.settings))
        self.client = await self._stack.enter_async_context(AsyncClient(base_url=self.server.url))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


@pytest.mark.timeout(180)
async def test_very_many_streams_use_few_connections(
    server: FaultyValkey, client: Redis, hand: HandRun, tmp_path: Path, measured: Measured
) -> None:
    """One process serves thousands of streams of different jobs over at most 3 connections to Redis, to their ends."""
    ids = [job_id for _ in range(STREAMS // 100) for job_id in await hand.submit(100)]
    own = len(client.client_list())  # type: ignore[arg-type]
    async with service_process(tmp_path, server.url, access_log="false", max_streams=STREAMS) as service:
        before = service.memory_bytes
        async with crowd_of(service.url, [f"/jobs/{job_id}/events" for job_id in ids]) as members:
            measured("memory for a stream", f"{(service.memory_bytes - before) / STREAMS / 1024:.1f} KiB")
            assert len(client.client_list()) - own <= 3  # type: ignore[arg-type]
            await end_all(hand)
            ended = b"0\r\n\r\n"
            await wait_until(lambda: all(one.got.endswith(ended) for one in members), "all end", timeout_s=60)
            connections = len(client.client_list()) - own  # type: ignore[arg-type]
            names = {tuple(event.name for event in one.heard().events) for one in members}
    measured("connections to Redis", connections)
    assert connections <= 3
    assert names == {("queued", "running", "succeeded")}


@pytest.mark.timeout(120)
async def test_progress_reaches_many_listeners_soon(
    server: FaultyValkey, hand: HandRun, tmp_path: Path, measured: Measured
) -> None:
    """Each listener to one job hears each report once; how soon is measured, and is below a second in any case."""
    claim = await hand.begin()
    delays_s: list[float] = []
    async with (
        service_process(tmp_path, server.url, access_log="false") as service,
        crowd_of(service.url, [f"/jobs/{claim.id}/events"] * LISTENERS) as members,
    ):
        for number in range(20):
            sent_s, told = time.monotonic(), f'"current": {number},'.encode()
            await hand.progress(claim, number)
            await wait_until(partial(all_have, members, told), "all hear")
            delays_s += [member.last_s - sent_s for member in members]
        await hand.settle(claim)
        await wait_until(lambda: all(one.got.endswith(b"0\r\n\r\n") for one in members), "all end", timeout_s=20)
        heard = {tuple(event.id for event in one.heard().events) for one in members}
    cuts = quantiles(delays_s, n=100)
    measured(f"progress to {LISTENERS} listeners", f"p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
    assert len(heard) == 1
    assert len(heard.pop()) == 23
    assert cuts[98] < 1


def all_have(members: list[Member], told: bytes) -> bool:
    """Tell whether each of them has got these bytes."""
    return all(told in member.got for member in members)


async def watch_all(stack: AsyncExitStack, site: Site, claims: list[Claim]) -> list[Listener]:
    """Open a stream of each job, and return the listeners once they have heard that it runs."""
    listeners = [
        await stack.enter_async_context(listening(site.client, f"/jobs/{claim.id}/events")) for claim in claims
    ]
    for listener in listeners:
        await listener.hears_names("queued", "running")
    return listeners


async def test_streams_outlive_a_crash_of_the_server(
    server: FaultyValkey, client: Redis, hand: HandRun, tmp_path: Path
) -> None:
    """Redis is killed and comes back twice: no stream ends, and each tells every event of its job once."""
    claims = [await hand.begin() for _ in range(5)]
    async with Site(server.url, tmp_path) as site, AsyncExitStack() as stack:
        listeners = await watch_all(stack, site, claims)
        everything = await stack.enter_async_context(listening(site.client, "/events"))
        await everything.hears(lambda self: self.last_id, "the place of now")
        for turn in range(2):
            for claim in claims:
                await hand.progress(claim, 2 * turn)
            server.kill()
            await asyncio.to_thread(server.start)
            for claim in claims:
                await hand.progress(claim, 2 * turn + 1)
        await hand.settle(*claims)
        for claim, listener in zip(claims, listeners, strict=True):
            told = await listener.ends()
            assert [event.id for event in told[1:]] == ids_of(client, claim.id)
            assert len(told) == 7
        await everything.hears(lambda self: self.names.count("succeeded") == 5, "every end")
        assert everything.names.count("progress") == 20
        assert everything.ids == sorted(set(everything.ids))
        assert not everything.ended


async def test_streams_outlive_a_server_that_has_forgotten(
    server: FaultyValkey, client: Redis, hand: HandRun, tmp_path: Path
) -> None:
    """After a fail-over that lost all: the stream of a lost job ends, that of all jobs has a gap and goes on."""
    claim = await hand.begin()
    async with Site(server.url, tmp_path) as site, AsyncExitStack() as stack:
        (lost,) = await watch_all(stack, site, [claim])
        everything = await stack.enter_async_context(listening(site.client, "/events"))
        await everything.hears(lambda self: self.last_id, "the place of now")
        client.flushall()
        client.client_kill_filter(_type="normal", skipme=True)
        await lost.ends()
        await everything.hears(lambda self: self.names == ["gap"], "the gap")
        (later,) = await hand.submit()
        heard = await everything.hears_names("gap", "queued")
        assert heard[1].json["id"] == later
    await end_all(hand)


@pytest.mark.parametrize("which", ["reader", "others", "all"])
async def test_streams_outlive_their_connections(
    server: FaultyValkey, client: Redis, hand: HandRun, tmp_path: Path, which: str
) -> None:
    """Connections to Redis are cut in the middle of replies, again and again: each event of each job is told once."""
    claims = [await hand.begin() for _ in range(5)]
    is_meant: Callable[[bytes], bool] = {
        "reader": lambda sent: b"XREAD" in sent,
        "others": lambda sent: b"XREAD" not in sent,
        "all": lambda sent: True,
    }[which]
    async with proxy(server.socket) as through, Site(through.url, tmp_path) as site, AsyncExitStack() as stack:
        listeners = await watch_all(stack, site, claims)
        for number in range(25):
            cut_in_reply(through, is_meant)
            for claim, listener in zip(claims, listeners, strict=True):
                await hand.progress(claim, number)
                if number % 5 == 0:
                    await listener.hears(lambda self: self.names.count("progress"), "some progress")
        cut_in_reply(through, is_meant)
        await hand.settle(*claims)
        for claim, listener in zip(claims, listeners, strict=True):
            assert [event.id for event in (await listener.ends())[1:]] == ids_of(client, claim.id)


def cut_in_reply(through: Proxy, is_meant: Callable[[bytes], bool]) -> None:
    """Let these connections break in the middle of their next replies."""
    for link in through.links:
        link.cut_next_reply = is_meant(link.sent)


@pytest.mark.parametrize("reads_again", [True, False])
async def test_a_client_that_does_not_read_costs_little(
    server: FaultyValkey, client: Redis, hand: HandRun, tmp_path: Path, reads_again: bool
) -> None:
    """It is not waited for, holds little memory, and misses nothing once it reads; if it never does, it is cut off."""
    claim = await hand.begin()
    async with (
        Site(server.url, tmp_path, send_timeout_s=30 if reads_again else 0.5) as site,
        raw_connection(site.server.url, receive_bytes=65_536) as deaf,
        listening(site.client, f"/jobs/{claim.id}/events") as other,
    ):
        await deaf.send(stream_request(f"/jobs/{claim.id}/events"))
        for number in range(200):
            await hand.progress(claim, number, LARGE)
        await other.hears(lambda self: self.names.count("progress") == 200, "all progress")
        connections = [one.transport for one in site.server.state.connections]
        assert max(transport.get_write_buffer_size() for transport in connections) < 8 * len(LARGE)
        if reads_again:
            await hand.settle(claim)
            assert heard_in(await deaf.rest()) == ["0-0", *ids_of(client, claim.id)]
            return
        await wait_until(lambda: len(site.app.state.arqway.streams) == 1, "it is cut off", timeout_s=20)
        received = heard_in(await deaf.rest())
        assert received == ["0-0", *ids_of(client, claim.id)][: len(received)]
        async with listening(site.client, f"/jobs/{claim.id}/events", received[-1]) as back:
            await hand.settle(claim)
            rest = [event.id for event in await back.ends()]
    assert [*received, *rest] == ["0-0", *ids_of(client, claim.id)]


def heard_in(answer: bytes) -> list[str]:
    """Return the ids of the events in the bytes of an answer."""
    parser = EventParser()
    parser.feed(unchunked(answer.partition(b"\r\n\r\n")[2]))
    return [event.id for event in parser.events]


async def test_the_service_ends_without_waiting_for_streams(
    server: FaultyValkey, hand: HandRun, tmp_path: Path
) -> None:
    """Open streams end as soon as the service is told to stop, and so does the service, deaf clients or not."""
    claim, large = await hand.begin(), await hand.begin()
    async with AsyncExitStack() as stack:
        async with Site(server.url, tmp_path) as site:
            outer = await stack.enter_async_context(AsyncClient(base_url=site.server.url))
            path = f"/jobs/{claim.id}/events"
            listeners = [await stack.enter_async_context(listening(outer, path)) for _ in range(20)]
            deaf = await stack.enter_async_context(raw_connection(site.server.url, receive_bytes=65_536))
            await deaf.send(stream_request("/events"))
            await wait_until(lambda: len(site.app.state.arqway.streams) == 21, "all are open")
            for number in range(200):
                await hand.progress(large, number, LARGE)
            began_s = time.monotonic()
        took_s = time.monotonic() - began_s
        for listener in listeners:
            await listener.ends()
    assert took_s < 4
    await hand.settle(claim, large)
