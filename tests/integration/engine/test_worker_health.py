"""A worker's health port: ready while it claims, alive while it can; a blocked loop and a dead claimer are seen."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import randrange
from signal import SIGTERM

import httpx
import pytest
from pydantic import SecretStr

from arqway import Registry
from arqway.workers.engine import vitals
from arqway.workers.engine.vitals import Unready, Vitals
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.fleet import block, fleet_at, gate, hold, lines, living, queue_at, supervised
from tests.support.jobs import double
from tests.support.processes import Command
from tests.support.redis_server import valkey
from tests.support.waiting import wait_until
from tests.support.worker import running_worker

Answer = tuple[int, dict[str, str]]
OK: Answer = (200, {"status": "ok"})


def unready(reason: str) -> Answer:
    """Return the answer of a worker that claims nothing."""
    return 503, {"status": "unready", "reason": reason}


def probe(port: int, path: str) -> Answer:
    """Ask a health port."""
    answer = httpx.get(f"http://127.0.0.1:{port}{path}")
    return answer.status_code, answer.json()


async def port_of(command: Command) -> int:
    """Return the health port of the worker that was started first, once it is open."""
    await command.says("The health port is open")
    port: int = lines(command, "The health port is open")[0]["port"]
    return port


async def answers(port: int, path: str, expected: Answer, *, timeout_s: float = 10) -> None:
    """Return once the port answers so."""
    seen: list[Answer] = []

    async def as_expected() -> bool:
        seen[:] = [await asyncio.to_thread(probe, port, path)]
        return seen == [expected]

    await wait_until(as_expected, f"{path} answers {expected}, not {seen}", timeout_s=timeout_s)


async def test_a_blocked_loop_is_seen_and_its_end_too(tmp_path: Path, redis_url: str) -> None:
    """Ready fails soon; alive fails beyond the stall limit only; the heartbeat says both; all is well afterwards."""
    with (
        gate(tmp_path / "gate") as folder,
        supervised(tmp_path, redis_url, worker_health_port=0, stall_s=3) as command,
    ):
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as fleet:
            await living(fleet, 1)
            port = await port_of(command)
            await answers(port, "/readyz", OK)
            job_id = (await jobs.submit(block, str(folder))).id
            await answers(port, "/readyz", unready("loop_blocked"))
            assert probe(port, "/livez") == OK
            await answers(port, "/livez", (503, {"status": "dead", "reason": "loop_dead"}))

            async def told() -> bool:
                (worker,) = await fleet.read()
                return worker.stalled and worker.unready == "loop_blocked" and worker.loop_lag_ms > 3000

            await wait_until(told, "the heartbeat says that the loop is dead")
            (folder / "finish").touch()
            await answers(port, "/readyz", OK)
            assert probe(port, "/livez") == OK
            await jobs.wait(job_id, timeout_s=10)
        command.signal(SIGTERM)
        assert await command.ends() == 0


async def test_a_stopping_worker_is_alive_and_not_ready(tmp_path: Path, redis_url: str) -> None:
    """While it drains, no probe may take it for one that claims, nor restart it."""
    with (
        gate(tmp_path / "gate") as folder,
        supervised(tmp_path, redis_url, worker_health_port=0, drain_s=20) as command,
    ):
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as fleet:
            await living(fleet, 1)
            job_id = (await jobs.submit(hold, str(folder))).id

            async def runs() -> bool:
                return (await jobs.read(job_id)).worker is not None

            await wait_until(runs, "the job runs")
            port = await port_of(command)
            command.signal(SIGTERM)
            await answers(port, "/readyz", unready("stopping"))
            assert probe(port, "/livez") == OK
            (folder / "finish").touch()
            assert await command.ends() == 0


async def test_a_worker_without_redis_is_alive_and_not_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No claim succeeds any more: not ready; ready again by itself when Redis is back."""
    monkeypatch.setattr(vitals, "_CLAIM_WITHIN_S", 0.5)
    caplog.set_level("INFO")
    with valkey() as server:
        own = settings.model_copy(update={"redis_url": SecretStr(server.url), "worker_health_port": 0})
        async with running_worker(Registry([double]), own):
            port = await health_port(caplog)
            await answers(port, "/readyz", OK)
            server.stop()
            await answers(port, "/readyz", unready("no_claim"))
            assert await asyncio.to_thread(probe, port, "/livez") == OK
            await asyncio.to_thread(server.start)
            await answers(port, "/readyz", OK)


async def health_port(caplog: pytest.LogCaptureFixture) -> int:
    """Return the port that a worker in this process has logged."""

    def found() -> list[int]:
        return [vars(line)["port"] for line in caplog.records if line.message == "The health port is open"]

    await wait_until(lambda: bool(found()), "the port is open")
    return found()[0]


async def test_the_port_speaks_http(run_worker: RunWorker, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown paths, other methods, HEAD, and what is no HTTP at all get the answer they should."""
    caplog.set_level("INFO")
    async with run_worker(Registry([double]), worker_health_port=0):
        port = await health_port(caplog)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/livez?verbose")).json() == {"status": "ok"}
            refused = await client.post("/livez", content=b"x")
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
            head = await client.head("/readyz")
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "16")
        for noise in (b"\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"x" * 10_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(noise)
            with suppress(ConnectionResetError):
                assert (await reader.read())[:12] in {b"HTTP/1.1 404", b""}
            writer.close()
        assert await asyncio.to_thread(probe, port, "/readyz") == OK


async def test_a_taken_port_ends_the_start(tmp_path: Path, redis_url: str) -> None:
    """The reason is told in one line, and nothing is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with supervised(tmp_path, redis_url, worker_health_port=port) as command:
            assert await command.ends() == 1
    assert f"the health port cannot listen on 127.0.0.1:{port}: Address already in use" in command.output


async def test_each_process_has_a_port_of_its_own(tmp_path: Path, redis_url: str) -> None:
    """The first has the one that was set, the second the next."""
    port = _two_free_ports()
    with supervised(tmp_path, redis_url, "--processes", "2", worker_health_port=port) as command:
        async with fleet_at(redis_url) as fleet:
            await living(fleet, 2)
        await wait_until(lambda: len(lines(command, "The health port is open")) == 2, "both ports are open")
        assert probe(port, "/livez") == probe(port + 1, "/livez") == OK
        command.signal(SIGTERM)
        assert await command.ends() == 0


def _two_free_ports() -> int:
    """Return the first of two neighbours, below the ports that the system hands out by itself."""
    while True:
        port = randrange(20_000, 30_000)
        with (
            suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_server(("127.0.0.1", port + 1)),
        ):
            return port


def given(now_s: Callable[[], float], **changes: object) -> Vitals:
    """Return the vitals of a healthy worker, but for the changes."""
    healthy = {
        "blocked_s": lambda: 0.0,
        "claimed_at_s": now_s,
        "stopping": lambda: False,
        "full": lambda: False,
        "poll_s": 0.5,
        "stall_s": 300.0,
        "heard_within_s": 15.0,
        "heard_at_s": now_s(),
    }
    return Vitals(**{**healthy, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"claimed_at_s": lambda: 94.0}, Unready.SILENT),
        ({"claimed_at_s": lambda: 94.0, "poll_s": 3.0}, None),
        ({"claimed_at_s": lambda: 0.0, "full": lambda: True}, None),
        ({"claimed_at_s": lambda: 0.0, "full": lambda: True, "heard_at_s": 80.0}, Unready.UNHEARD),
        ({"blocked_s": lambda: 1.1}, Unready.BLOCKED),
        ({"blocked_s": lambda: 1.1, "full": lambda: True}, Unready.BLOCKED),
        ({"stopping": lambda: True, "blocked_s": lambda: 9.0}, Unready.STOPPING),
    ],
)
def test_a_heartbeat_does_not_hide_a_dead_claimer(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], reason: Unready | None
) -> None:
    """Readiness asks for claims, however well Redis takes the heartbeat; only full slots excuse their absence."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    assert given(lambda: 100.0, **changes).unready() is reason
