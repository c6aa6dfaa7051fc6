"""The life of a ``SyncJobQueue``: opened by its first call, forked, interrupted, closed, forgotten."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from arqway import JobQueue, JobState, Registry, SyncJobQueue
from arqway.workers.contract.errors import (
    ConfigurationError,
)
from arqway.workers.settings import Settings
from tests.support.held_jobs import background_threads
from tests.support.jobs import Number, double
from tests.support.waiting import wait_until

JOBS = Registry([double])


@pytest.fixture
def jobs(settings: Settings) -> Iterator[SyncJobQueue]:
    """A client without an event loop."""
    with SyncJobQueue(JOBS, settings=settings) as queue:
        yield queue


@pytest.mark.parametrize("opened", ["opened", "unopened"])
def test_after_a_fork(redis_url: str, jobs: SyncJobQueue, opened: str) -> None:
    """Parent and children each use connections of their own, also when threads of the parent are in a call.

    Nothing is printed but ids, and all the jobs are there.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-W",
            "ignore:This process:DeprecationWarning",
            "-m",
            "tests.support.forked",
            opened,
        ],
        env={**os.environ, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ids = done.stdout.split()
    assert len(ids) == len(set(ids)) >= 4 * 2 + 1 + (20 if opened == "opened" else 0)
    assert {record.id for record in jobs.read_many(ids)} == set(ids)


def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Are refused at once; a missing server by the first call, and by the next one, too."""
    monkeypatch.setenv("ARQWAY_RETENTION_S", "never")
    with pytest.raises(ConfigurationError, match="ARQWAY_RETENTION_S"):
        SyncJobQueue(JOBS)
    monkeypatch.delenv("ARQWAY_RETENTION_S")
    with SyncJobQueue(JOBS) as jobs:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="REDIS_URL"):
                jobs.ping()
    for thread in background_threads():
        thread.join(10)
    assert background_threads() == []


def test_closing(settings: Settings) -> None:
    """Ends the thread; closing again does nothing, and every later call says that it is closed."""
    unused, jobs = SyncJobQueue(JOBS, settings=settings), SyncJobQueue(JOBS, settings=settings)
    jobs.ping()
    assert len(background_threads()) == 1
    for queue in (jobs, jobs, unused, unused):
        queue.close()
    assert background_threads() == []
    for queue in (jobs, unused):
        with pytest.raises(RuntimeError, match="closed"):
            queue.submit(double, Number(value=1))
    assert background_threads() == []


def test_closing_breaks_off_what_waits(settings: Settings) -> None:
    """A call that is under way in another thread ends, and says why; no call hangs."""
    jobs = SyncJobQueue(JOBS, settings=settings)
    accepted = jobs.submit(double, Number(value=1))

    def go_on() -> None:
        while True:
            jobs.ping()

    with ThreadPoolExecutor(10) as threads:
        calls: list[Future[Any]] = [threads.submit(jobs.wait, accepted.id, timeout_s=60) for _ in range(5)]
        calls += [threads.submit(go_on) for _ in range(5)]
        jobs.run(_others_listen)
        jobs.close()
        for call in calls:
            assert "closed" in str(call.exception(timeout=10))
            assert isinstance(call.exception(), RuntimeError)


async def _others_listen(queue: JobQueue) -> None:
    await wait_until(lambda: len(asyncio.all_tasks()) > 5, "the others wait")


def test_a_client_that_is_forgotten_ends_its_thread(settings: Settings) -> None:
    """And its connections."""
    jobs = SyncJobQueue(JOBS, settings=settings)
    jobs.ping()
    (thread,) = background_threads()
    gone = weakref.ref(jobs)
    del jobs
    gc.collect()
    thread.join(10)
    assert gone() is None
    assert not thread.is_alive()


_INTERRUPTED = """
import signal, sys, threading, time, os
from arqway import SyncJobQueue, Registry
from tests.support.jobs import Number, double

jobs = SyncJobQueue(Registry([double]))
job_id = jobs.submit(double, Number(value=1)).id
try:
    print("waiting", flush=True)
    jobs.wait(job_id, timeout_s=60)
except KeyboardInterrupt:
    print(jobs.read(job_id).state, flush=True)
    {end}
"""


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("raise", -signal.SIGINT)])
def test_ctrl_c_while_waiting(redis_url: str, end: str, code: int) -> None:
    """It is a KeyboardInterrupt, at once; the client can still be used, and a program that does not close it ends."""
    program = [sys.executable, "-W", "error", "-c", _INTERRUPTED.format(end=end)]
    environment = {**os.environ, "REDIS_URL": redis_url}
    with subprocess.Popen(
        program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        begun_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (output, process.returncode) == ("queued\n", code), errors
    assert time.monotonic() - begun_s < 20
    assert ("KeyboardInterrupt" in errors) is (end == "raise")


_UNCLOSED = """
from pathlib import Path
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from arqway import SyncJobQueue, Registry
from tests.support.jobs import Number, double

jobs = SyncJobQueue(Registry([double]))
with Session(create_engine("sqlite://")) as session:
    print(jobs.submit(double, Number(value=1), after_commit=session).id)
    session.commit()
"""


def test_a_program_that_ends_without_closing_sends_what_it_committed(redis_url: str, jobs: SyncJobQueue) -> None:
    """The exit of the interpreter closes the client."""
    done = subprocess.run(
        [sys.executable, "-c", _UNCLOSED],
        env={**os.environ, "REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert jobs.read(done.stdout.strip()).state is JobState.QUEUED
    assert done.stderr == ""


def test_it_can_be_made_again_and_again(settings: Settings) -> None:
    """Nothing of a closed client stays: no thread, no open file."""

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0

    for _ in range(3):
        with SyncJobQueue(JOBS, settings=settings) as jobs:
            jobs.ping()
    before = files()
    for _ in range(50):
        with SyncJobQueue(JOBS, settings=settings) as jobs:
            jobs.ping()
    assert background_threads() == []
    assert files() <= before
