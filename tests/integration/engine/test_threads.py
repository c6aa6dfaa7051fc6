"""Blocking calls in threads: as many as there are slots, seen when they outlive their job, and no bar to stopping."""

import asyncio
import threading
import time
from datetime import timedelta
from pathlib import Path
from signal import SIGTERM

from arqway import JobContext, JobState, Registry, job
from arqway.workers.engine.threads import JobThreads
from tests.support.fleet import lines, queue_at, supervised
from tests.support.waiting import wait_until

JOBS_AT_ONCE = 40
SHORT = timedelta(seconds=0.3)
REPORT = "A thread goes on although its job has ended; until it returns, no other job can use it"


def until_there(path: Path) -> None:
    """Block this thread until there is a file."""
    while not path.exists():
        time.sleep(0.01)


@job("test.meet")
async def meet(ctx: JobContext, folder: str) -> None:
    """Block a thread until all the others block theirs, too."""

    def arrive() -> None:
        (Path(folder) / ctx.job_id).touch()
        while len(list(Path(folder).glob("[0-9a-f]*"))) < JOBS_AT_ONCE:
            time.sleep(0.01)

    await asyncio.to_thread(arrive)


@job("test.stick", timeout=SHORT)
async def stick(ctx: JobContext, folder: str) -> None:
    """Block a thread for longer than the job may take."""
    await asyncio.to_thread(until_there, Path(folder) / "finish")


JOBS = Registry([meet, stick])
HERE = "tests.integration.engine.test_threads:JOBS"


async def test_every_slot_has_a_thread(tmp_path: Path, redis_url: str) -> None:
    """As many jobs block a thread at the same time as there are slots."""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with supervised(tmp_path, redis_url, jobs=HERE, max_jobs=JOBS_AT_ONCE):
        async with queue_at(redis_url, JOBS) as jobs:
            accepted = [await jobs.submit(meet, str(meeting)) for _ in range(JOBS_AT_ONCE)]
            ended = [await jobs.wait(record.id, timeout_s=20) for record in accepted]
    assert {record.state for record in ended} == {JobState.SUCCEEDED}


async def test_a_thread_that_outlives_its_job_is_reported_and_does_not_hold_up_the_stop(
    tmp_path: Path, redis_url: str
) -> None:
    """The log names the job and the place where its thread is; SIGTERM ends the worker all the same."""
    with supervised(tmp_path, redis_url, jobs=HERE, drain_s=1) as command:
        async with queue_at(redis_url, JOBS) as jobs:
            accepted = await jobs.submit(stick, str(tmp_path))
            record = await jobs.wait(accepted.id, timeout_s=20)
        await command.says(REPORT)
        command.signal(SIGTERM)
        begun_s = time.monotonic()
        assert await command.ends() == 0
        assert time.monotonic() - begun_s < 10
    (line,) = lines(command, REPORT)
    assert record.failure is not None
    assert (record.failure.code, line["job_id"], line["kind"]) == ("timeout", record.id, "test.stick")
    assert "until_there" in line["stack"]


async def test_a_call_that_ends_with_its_job_is_not_reported() -> None:
    """Only calls whose task has ended count, each once, however often the watch looks."""
    threads, finish = JobThreads(2), threading.Event()

    task = asyncio.create_task(_in(threads, finish.wait))
    await wait_until(lambda: len(threads._calls) == 1, "the call runs")
    (call,) = threads._calls
    assert call.task is task
    assert not threads.stopped(0.05)
    finish.set()
    await task
    assert threads.stopped(1)


async def _in(threads: JobThreads, call: object) -> None:
    await asyncio.get_running_loop().run_in_executor(threads, call)  # type: ignore[arg-type]
