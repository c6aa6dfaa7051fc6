"""Redis answers, and says no: READONLY, LOADING, OOM. All three pass by themselves, and so they are treated."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from arqway.workers.client import JobQueue
from arqway.workers.contract.errors import StoreUnavailable
from tests.faults.conftest import Measured, StartCrew
from tests.support.fault_jobs import Place, Work, hold, notes, times, work
from tests.support.fault_records import all_end, all_succeeded, submit_surely
from tests.support.fault_workers import FaultyValkey
from tests.support.redis_server import wait_for_server
from tests.support.waiting import wait_until

LEASE_S = 30
RECOVERY_S = 2.0
REFUSALS = 5
MANY_KEYS = 30_000
LOAD_DELAY_US = 20

Refusing = Callable[[FaultyValkey, Redis], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def read_only(server: FaultyValkey, client: Redis) -> AsyncIterator[None]:
    """A fail-over: the server is a replica, of nobody, and then a primary again."""
    client.replicaof("127.0.0.1", 1)
    yield
    client.replicaof("NO", "ONE")


@asynccontextmanager
async def out_of_memory(server: FaultyValkey, client: Redis) -> AsyncIterator[None]:
    """No memory for any write, and then enough."""
    client.config_set("maxmemory", 1)
    yield
    client.config_set("maxmemory", 0)


@asynccontextmanager
async def loading(server: FaultyValkey, client: Redis) -> AsyncIterator[None]:
    """A restart with so much data that it takes seconds; the block must be over before."""
    ballast = [f"ballast{n}" for n in range(MANY_KEYS)]
    with client.pipeline(transaction=False) as writes:
        for key in ballast:
            writes.set(key, 0)
        writes.execute()
    server.kill()
    server.launch(key_load_delay=LOAD_DELAY_US)  # it answers after every 1,024 keys
    try:
        await wait_until(lambda: is_loading(client), "the server loads its data")
        yield
        assert is_loading(client)
    finally:
        await asyncio.to_thread(wait_for_server, server.url)
        client.delete(*ballast)


def is_loading(client: Redis) -> bool:
    """Tell whether the server answers, but only that it loads."""
    try:
        client.ping()
    except RedisError as error:
        return "loading" in str(error)
    return False


@pytest.mark.parametrize("refusing", [read_only, loading, out_of_memory])
@pytest.mark.timeout(90)
async def test_a_server_that_refuses_is_waited_for(
    jobs: JobQueue,
    client: Redis,
    server: FaultyValkey,
    place: Path,
    start_crew: StartCrew,
    measured: Measured,
    refusing: Refusing,
) -> None:
    """Submitters are told StoreUnavailable; workers stay; jobs that end meanwhile are settled as soon as it yields."""
    crew = start_crew(lease_s=LEASE_S)
    await crew.start(2)
    running = [(await jobs.submit(hold, Place(folder=place))).id for _ in range(8)]
    await wait_until(lambda: len(notes(place, "begin")) == 8, "the jobs run")

    async with refusing(server, client):
        (place / "finish").touch()
        for _ in range(REFUSALS):
            with pytest.raises(StoreUnavailable):
                await jobs.submit(work, Work(folder=place))
        await wait_until(lambda: len(notes(place, "end")) == 8, "the running jobs end")
    yields_s = time.monotonic()
    await submit_surely(jobs, work, Work(folder=place), "first")
    await jobs.wait("first", timeout_s=20)
    took_s = time.monotonic() - yields_s
    await all_end(client, timeout_s=10)

    measured("from the last refusal to the end of the next job", [took_s])
    records = await all_succeeded(jobs, client, [*running, "first"])
    assert {record.rescues for record in records} == {0}
    assert set(times(place, "begin").values()) == {1}
    assert took_s < RECOVERY_S
    assert len(crew.alive) == 2
    assert crew.complaints() == []
