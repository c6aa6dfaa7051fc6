"""``arqway worker --arq``: a stock ``WorkerSettings`` under the supervisor, on the server that it names itself."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job

from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import JobStore
from tests.support.arq_shop import SHOP
from tests.support.arq_workers import submitted
from tests.support.fleet import lines
from tests.support.processes import Command, arqway, descendants
from tests.support.redis_server import valkey
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

QUEUE = "shop:jobs"
START_S = 90
RELEASED = "The jobs of a dead worker are due again"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder with the user's module."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def other_server() -> Iterator[str]:
    """A server that only the user's settings name."""
    with valkey() as server:
        yield server.url


def worker(
    folder: Path, redis_url: str, *arguments: str, name: str = "shop.WorkerSettings"
) -> AbstractContextManager[Command]:
    """Run the command in the folder. REDIS_URL is not set."""
    return arqway(folder, "worker", "--arq", name, *arguments, changes={"SHOP_REDIS": redis_url}, name="worker")


def notes(folder: Path) -> list[str]:
    """Return what the user's functions wrote down."""
    file = folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


async def enqueue(arq: ArqRedis, *call: object, **options: object) -> Job:
    """Enqueue into the user's queue."""
    return await submitted(arq, *call, _queue_name=QUEUE, **options)


async def test_a_stock_class_runs_in_two_processes(shop: Path, arq: ArqRedis, redis_url: str) -> None:
    """Functions, a cron job, every hook, the server, queue and health key are theirs; SIGTERM drains, and gives 0."""
    job = await enqueue(arq, "greet", "Ada", loudly=True)
    with worker(shop, redis_url, "--processes", "2") as command:
        assert await job.result(timeout=START_S, poll_delay=0.02) == "Hello, Ada!"
        holding = [await enqueue(arq, "hold") for _ in range(6)]
        await wait_until(
            lambda: len({line for line in notes(shop) if "holding" in line}) == 2,
            "both processes hold jobs",
            timeout_s=START_S,
        )
        await wait_until(lambda: arq.exists("shop:health"), "the health record is written", timeout_s=START_S)
        (shop / "finish").touch()
        ran_in = {await held.result(timeout=10, poll_delay=0.02) for held in holding}
        assert ran_in <= set(descendants(command.process.pid))
        command.signal(SIGTERM)
        assert await command.ends(timeout_s=START_S) == 0
    found = notes(shop)
    assert [found.count(line) for line in ("started", "stopped after Hello")] == [2, 2]
    assert "tick" in found
    assert found.count("after True") == 7 + found.count("tick")
    assert "False" not in "".join(found)
    assert not await arq.exists("shop:health")


async def test_a_killed_workers_jobs_are_released_on_its_own_server_and_queue(
    shop: Path, other_server: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With REDIS_URL naming another server and a lease of 10 s, kill -9: its job is run by the next process at once."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    arq = open_redis(other_server)
    try:
        job = await enqueue(arq, "hold")
        with worker(shop, other_server) as command:
            await wait_until(lambda: any("holding" in line for line in notes(shop)), "the job runs", timeout_s=START_S)
            (pid,) = [int(line.split()[1]) for line in notes(shop) if "holding" in line]
            os.kill(pid, SIGKILL)
            killed_s = time.monotonic()
            await wait_until(
                lambda: len(lines(command, RELEASED)) == 1, "the supervisor releases it", timeout_s=START_S
            )
            released_s = time.monotonic() - killed_s
            await wait_until(
                lambda: sum("holding" in line for line in notes(shop)) == 2, "it runs again", timeout_s=START_S
            )
            (shop / "finish").touch()
            assert await job.result(timeout=10, poll_delay=0.02) != pid
            command.signal(SIGTERM)
            assert await command.ends(timeout_s=START_S) == 0
    finally:
        await arq.aclose()
    assert released_s < 8
    assert lines(command, RELEASED)[0]["jobs"] >= 1


async def test_a_burst_ends_with_0_and_a_process_of_it_that_is_killed_is_started_again(
    shop: Path, arq: ArqRedis, redis_url: str
) -> None:
    """Of two processes one is killed in the middle of a burst; nothing is lost, and the command ends by itself."""
    (shop / "shop.py").write_text(f"{SHOP}    burst = True\n".replace("tick, run_at_startup=True", "tick"))
    jobs = [await enqueue(arq, "hold") for _ in range(4)]
    with worker(shop, redis_url, "--processes", "2") as command:
        await wait_until(
            lambda: sum("holding" in line for line in notes(shop)) == 4, "all of them run", timeout_s=START_S
        )
        os.kill(int(notes(shop)[-1].split()[1]), SIGKILL)
        await wait_until(lambda: lines(command, RELEASED) != [], "its jobs are released", timeout_s=START_S)
        (shop / "finish").touch()
        assert await command.ends(timeout_s=START_S) == 0
    assert all([await job.result(timeout=1) for job in jobs])
    assert not await arq.exists(QUEUE)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_like_it\n", "shop.py:1: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("print('hello')\nclass WorkerSettings:\n    functions = [1]\n", "RuntimeError: 1 is not a coroutine function"),
        ("x = (\n", "shop.py:1: SyntaxError: '(' was never closed"),
        ("import os\nos._exit(7)\n", "a process that imported it ended with exit code 7"),
    ],
)
async def test_what_cannot_work_is_told_in_one_line_with_exit_code_2(tmp_path: Path, code: str, reason: str) -> None:
    """Before any process is kept running."""
    (tmp_path / "shop.py").write_text(code)
    with worker(tmp_path, "redis://127.0.0.1:1") as command:
        assert await command.ends(timeout_s=START_S) == 2
    assert command.output == f"arqway: --arq shop.WorkerSettings: {reason}\n"


async def test_it_does_not_start_while_pickled_jobs_wait_unless_told_to(
    shop: Path, arq: ArqRedis, redis_url: str
) -> None:
    """Exit code 2, and the jobs wait on; with --fail-pickled they fail, and the others run."""
    pickling = await create_pool(RedisSettings.from_dsn(redis_url), default_queue_name=QUEUE)
    pickled = [await submitted(pickling, "greet", "Bob") for _ in range(3)]
    good = await enqueue(arq, "greet", "Ada")
    with worker(shop, redis_url) as command:
        assert await command.ends(timeout_s=START_S) == 2
    assert command.output.startswith("arqway: 3 of the next jobs in shop:jobs are pickled")
    assert await arq.zcard(QUEUE) == 4
    with worker(shop, redis_url, "--fail-pickled") as command:
        assert await good.result(timeout=START_S, poll_delay=0.02) == "Hello, Ada."
        await wait_until(lambda: _is_empty(arq), "the pickled ones have failed", timeout_s=START_S)
        command.signal(SIGTERM)
        assert await command.ends(timeout_s=START_S) == 0
    store = JobStore(arq)
    failures = [record.failure for job in pickled if (record := await store.read(job.job_id)) and record.failure]
    assert [failure.code for failure in failures] == ["invalid_payload"] * 3
    await pickling.aclose()


async def _is_empty(arq: ArqRedis) -> bool:
    return int(await arq.zcard(QUEUE)) == 0
