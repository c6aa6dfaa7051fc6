"""The pages on moving from arq and from Celery are true: their code and commands are run, their lists are whole."""

import asyncio
import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGTERM
from types import ModuleType
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job
from arq.worker import Worker

from arqway.workers.engine.arq_settings import arq_worker
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support import docs
from tests.support.arq_workers import submitted
from tests.support.docs_console import is_like
from tests.support.processes import arqway
from tests.support.waiting import wait_until

FROM_ARQ, FROM_CELERY = "docs/from-arq.md", "docs/from-celery.md"
CLI = (sys.executable, "-m", "arqway.service.cli")
START_S = 90
_SETTINGS = """broker_url result_backend task_serializer task_acks_late worker_prefetch_multiplier task_time_limit
    task_soft_time_limit task_routes task_default_queue result_expires worker_concurrency worker_max_tasks_per_child
    beat_schedule task_always_eager visibility_timeout"""
_CALLS = """delay countdown eta expires task_id queue priority link link_error
    AsyncResult.get AsyncResult.state AsyncResult.revoke AsyncResult.forget"""
_OPTIONS = """bind autoretry_for retry_backoff retry_backoff_max retry_jitter max_retries rate_limit time_limit
    soft_time_limit ignore_result acks_late name queue serializer track_started self.retry self.update_state"""

Load = Callable[[str], ModuleType]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[Callable[[str], Load]]:
    """Writes the files of a page into the current folder, and imports them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    written: list[Path] = []

    def write(name: str) -> Load:
        written.extend(docs.write_files(name, tmp_path))
        return importlib.import_module

    yield write
    for file in written:
        sys.modules.pop(file.stem, None)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [FROM_ARQ, FROM_CELERY])
async def test_the_code_of_a_page_is_typed(name: str, tmp_path: Path) -> None:
    """Its Python files pass ``mypy --strict``."""
    files = [str(path) for path in docs.write_files(name, tmp_path)]
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *files)
    assert code == 0, output


def test_every_option_and_call_of_arq_is_listed_once() -> None:
    """Each argument of arq's worker is in the first table, each of ``enqueue_job`` and each method in the second."""
    options = docs.first_names(docs.rows(FROM_ARQ, "Options of WorkerSettings"))
    assert sorted(options) == sorted(inspect.signature(Worker).parameters)
    calls = docs.first_names(docs.rows(FROM_ARQ, "Calls of a producer"))
    arguments = [name for name in inspect.signature(ArqRedis.enqueue_job).parameters if name.startswith("_")]
    methods = [f"Job.{name}" for name, value in vars(Job).items() if inspect.iscoroutinefunction(value)]
    own = [name for name, value in vars(ArqRedis).items() if inspect.iscoroutinefunction(value) and name[0] != "_"]
    assert sorted(calls) == sorted(["create_pool", *arguments, *methods, *own])


def test_what_people_use_of_celery_has_its_row() -> None:
    """Settings, calls and options, each once, and each with something on the other side."""
    tables = {"Settings": _SETTINGS, "Calls": _CALLS, "Options of a task": _OPTIONS}
    for title, names in tables.items():
        rows = docs.rows(FROM_CELERY, title)
        listed = docs.first_names(rows)
        assert set(re.split(r"[ \n]+", names)) - set(listed) == set(), title
        assert len(listed) == len(set(listed)), title
        assert all(len(row) == 2 and row[1] for row in rows), title


@pytest.mark.timeout(300)
async def test_the_move_from_arq_goes_as_shown(page: Callable[[str], Load], redis_url: str, tmp_path: Path) -> None:
    """Pickled jobs are converted with the commands and the output of the page, and run by the command of the page."""
    load = page(FROM_ARQ)
    worker, dry_run, convert = docs.sessions(FROM_ARQ)
    old = await create_pool(RedisSettings.from_dsn(redis_url))
    pickled = [await submitted(old, "greet", name, _job_id=f"good-{name}") for name in ("Ada", "Bob", "Cy")]
    await submitted(old, "greet", datetime.now(UTC), _job_id="bad-1")
    new = await load("producer").open_arq()
    json_job = await submitted(new, "greet", "Eve")
    for session in (dry_run, convert):
        code, output = await docs.run(*CLI, *shlex.split(session.command)[1:])
        assert code == 1
        assert is_like(session.output, output), output
    await old.zrem("arq:queue", "bad-1")
    await old.delete("arq:job:bad-1")
    with arqway(tmp_path, *shlex.split(worker.command)[1:]) as command:
        jobs = [Job(job.job_id, new, _deserializer=new.job_deserializer) for job in [*pickled, json_job]]
        results = [await job.result(timeout=START_S, poll_delay=0.02) for job in jobs]
        assert results == [f"Good morning, {name}." for name in ("Ada", "Bob", "Cy", "Eve")]
        assert await load("producer").greet_loudly("Ada") == "Good morning, Ada!"
        command.signal(SIGTERM)
        assert await command.ends(timeout_s=START_S) == 0
    await old.aclose()
    await new.aclose()


@pytest.mark.timeout(180)
async def test_an_old_queue_drains_beside_a_new_one(
    page: Callable[[str], Load], settings: Settings, redis_url: str
) -> None:
    """Stock arq and ours side by side, each with its own queue: every job, also one for later, runs exactly once."""
    load = page(FROM_ARQ)
    tasks, new_queue = load("tasks"), load("new_queue")
    old_pool = await create_pool(RedisSettings.from_dsn(redis_url))
    options = {"handle_signals": False, "poll_delay": 0.02, "on_startup": tasks.startup}
    old = Worker([tasks.greet], redis_pool=old_pool, burst=True, **options)
    new_pool = await new_queue.open_arq()
    waiting = [await submitted(old_pool, "greet", f"old {n}") for n in range(20)]
    waiting.append(await submitted(old_pool, "greet", "later", _defer_by=0.5))
    ours = arq_worker("new_queue.settings", settings)
    runs = [asyncio.create_task(worker.async_run()) for worker in (old, ours)]
    fresh = [await submitted(new_pool, "greet", f"new {n}") for n in range(20)]

    async def both_empty() -> bool:
        counts: list[Any] = [await old_pool.zcard(key) for key in ("arq:queue", new_queue.QUEUE)]
        return counts == [0, 0]

    await wait_until(both_empty, "both queues are drained", timeout_s=START_S)
    ours.handle_sig(SIGTERM)
    await asyncio.gather(*runs)
    assert [await job.result(timeout=1) for job in [*waiting, *fresh][::20]] == [
        "Good morning, old 0.",
        "Good morning, later.",
        "Good morning, new 19.",
    ]
    assert (old.jobs_complete, old.jobs_failed, ours.jobs_complete, ours.jobs_failed) == (21, 0, 20, 0)
    await ours.close()
    await old_pool.aclose()
    await new_pool.aclose()


async def test_the_jobs_that_were_celery_tasks_run(page: Callable[[str], Load], run_worker: RunWorker) -> None:
    """The job, the calls, the chain and the chord of the page do what they stand for."""
    load = page(FROM_CELERY)
    calls, chord = load("invoicing"), load("chord")
    async with run_worker(load("invoices").JOBS):
        assert await calls.send_tonight(7) == "invoice 7, 1 times, True"
        assert await calls.revoke_later(7) == "cancelled"
        assert await chord.archive_all([1, 22, 333]) == len("drawing of ") * 3 + 6
