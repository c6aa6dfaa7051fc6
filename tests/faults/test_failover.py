"""Redis moves or hangs up: an address that leads to another server, and idle connections that are ended."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from redis import Redis

from arqway import Registry
from arqway.workers.client import open_queue
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.settings import Settings
from tests.support.jobs import Number, double
from tests.support.proxy import proxy
from tests.support.redis_server import Valkey, valkey
from tests.support.waiting import wait_until
from tests.support.worker import running_worker

RECOVERY_S = 2.0
REGISTRY = Registry([double])


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def with_port(server: Valkey) -> Iterator[tuple[Redis, int]]:
    """A client of a server, and the port on which other servers find it."""
    port = free_port()
    with Redis.from_url(server.url, decode_responses=True) as client:
        client.config_set("port", port)
        yield client, port


@pytest.mark.parametrize("demoted", ["a replica of the new primary", "a lonely replica"])
async def test_an_address_that_follows_the_primary(demoted: str) -> None:
    """Old connections lead to a server that refuses writes; all are back within 2 s, and nothing is lost or doubled."""
    with valkey() as first, valkey() as second, with_port(first) as (one, port), with_port(second) as (two, other_port):
        two.replicaof("127.0.0.1", port)
        await wait_until(lambda: replication(two).get("master_link_status") == "up", "they are in step")
        async with proxy(first.socket) as through:
            settings = Settings.model_validate({"redis_url": through.url, "poll_s": 0.1})
            async with open_queue(settings, REGISTRY) as jobs, running_worker(REGISTRY, settings):
                before = [await jobs.submit(double, Number(value=n)) for n in range(5)]
                for record in before:
                    await jobs.wait(record.id, timeout_s=5)
                await wait_until(lambda: in_step(one, two), "the replica has it all")
                through.socket = second.socket
                two.replicaof("NO", "ONE")
                one.replicaof("127.0.0.1", other_port if demoted == "a replica of the new primary" else free_port())
                moved_s = time.monotonic()
                ids = []
                for n in range(20):
                    ids.append(f"after{n}")
                    await accepted(jobs, ids[-1], n)
                for job_id in ids:
                    await jobs.wait(job_id, timeout_s=5)
                assert time.monotonic() - moved_s < RECOVERY_S + 1  # the last ones began when it was back already
                for record in before:
                    assert (await jobs.read(record.id)).finished
        assert two.zcard("arq:queue") == 0


async def accepted(jobs: object, job_id: str, value: int) -> None:
    """Submit until it is accepted, under the same id each time: a resent submit is no second job."""

    async def taken() -> bool:
        try:
            await jobs.submit(double, Number(value=value), job_id=job_id)  # type: ignore[attr-defined]
        except StoreUnavailable:
            return False
        return True

    await wait_until(taken, "the submission is accepted", timeout_s=RECOVERY_S)


def in_step(one: Redis, two: Redis) -> bool:
    """Return whether a replica has all that its primary wrote."""
    return bool(replication(one)["master_repl_offset"] == replication(two)["slave_repl_offset"])


def replication(server: Redis) -> dict[str, Any]:
    """Return what a server says of its role."""
    return cast(dict[str, Any], server.info("replication"))


async def test_connections_that_the_server_ends_when_idle(caplog: pytest.LogCaptureFixture) -> None:
    """The next submission is accepted at once, and no worker takes the server for away."""
    caplog.set_level(logging.INFO)
    with valkey() as server, Redis.from_url(server.url, decode_responses=True) as client:
        settings = Settings.model_validate({"redis_url": server.url, "poll_s": 3})
        client.config_set("timeout", 1)
        async with open_queue(settings, REGISTRY) as jobs, running_worker(REGISTRY, settings):
            for round_ in range(3):
                accepted = await jobs.submit(double, Number(value=round_))
                assert (await jobs.wait(accepted.id, timeout_s=5)).result == 2 * round_
                before = idle(client)
                await wait_until(lambda: not before & idle(client), "the server ends them", timeout_s=20)  # noqa: B023
                time.sleep(1.5)  # noqa: ASYNC251 - a blocked loop has yet to see that more of them have ended
    assert not [record.message for record in caplog.records if "away" in record.message]


def idle(client: Redis) -> set[str]:
    """Return the connections that neither listen nor wait."""
    listed = cast(list[dict[str, str]], client.client_list())
    return {each["id"] for each in listed if each["flags"] == "N"} - {str(client.client_id())}
