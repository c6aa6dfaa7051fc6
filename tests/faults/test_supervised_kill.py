"""A worker process is killed under the supervisor: its jobs run again at once, and nothing is lost or done twice."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM

from redis import Redis

from arqway import JobRecord, JobState
from arqway.workers.client import JobQueue
from arqway.workers.contract import keys
from tests.support.fleet import die, fleet_at, gate, hold, lines, living, queue_at, supervised
from tests.support.processes import all_end, descendants
from tests.support.waiting import wait_until

JOBS = 12
RUN_AGAIN_WITHIN_S = 1.0


async def read_all(jobs: JobQueue, ids: Sequence[str]) -> list[JobRecord]:
    """Return the records of the jobs."""
    return [await jobs.read(job_id) for job_id in ids]


async def test_the_jobs_of_a_killed_worker_run_elsewhere_within_a_second(tmp_path: Path, redis_url: str) -> None:
    """With a lease of 10 s, kill -9 of one of two workers: each of its jobs runs again within 1 s, and ends once."""

    async def all_run() -> bool:
        records[:] = await read_all(jobs, ids)
        return all(record.state is JobState.RUNNING for record in records)

    async def all_run_elsewhere() -> bool:
        return await all_run() and all(record.worker != killed.id for record in records)

    async def all_succeeded() -> bool:
        records[:] = await read_all(jobs, ids)
        return all(record.state is JobState.SUCCEEDED for record in records)

    records: list[JobRecord] = []
    with gate(tmp_path / "gate") as folder, supervised(tmp_path, redis_url, "--processes", "2", max_jobs=JOBS) as up:
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as fleet:
            workers = await living(fleet, 2)
            ids = [(await jobs.submit(hold, str(folder))).id for _ in range(JOBS)]
            await wait_until(all_run, "all jobs run")
            held = {worker.id: {r.id for r in records if r.worker == worker.id} for worker in workers}
            killed = max(workers, key=lambda worker: len(held[worker.id]))

            os.kill(killed.pid, SIGKILL)
            killed_s = time.monotonic()
            await wait_until(all_run_elsewhere, "the jobs of the killed worker run elsewhere")
            took_s = time.monotonic() - killed_s

            (folder / "finish").touch()
            await wait_until(all_succeeded, "all jobs succeed")
            next_one = [worker for worker in await living(fleet, 2) if worker.pid not in {w.pid for w in workers}]
        up.signal(SIGTERM)
        assert await up.ends() == 0

    assert took_s < RUN_AGAIN_WITHIN_S
    assert {r.id for r in records if r.rescues == 1} == held[killed.id]
    assert {r.attempt for r in records} == {1}
    assert all(r.result != killed.pid for r in records)
    assert [worker.id.rpartition(":")[2] for worker in next_one] == [f"{killed.id.rpartition(':')[2][0]}.2"]
    assert sum(line["jobs"] for line in lines(up, "The jobs of a dead worker are due again")) == len(held[killed.id])
    with Redis.from_url(redis_url) as client:
        for job_id in ids:
            ends = [fields[b"name"] for _, fields in client.xrange(keys.events(job_id))]
            assert ends.count(b"succeeded") == 1


async def test_a_killed_supervisor_takes_its_workers_along(tmp_path: Path, redis_url: str) -> None:
    """After SIGKILL of the supervisor the workers end by themselves, and hand their jobs back at no cost."""
    with gate(tmp_path / "gate") as folder, supervised(tmp_path, redis_url, "--processes", "2", drain_s=0) as up:
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as fleet:
            await living(fleet, 2)
            job_id = (await jobs.submit(hold, str(folder))).id

            async def runs() -> bool:
                return (await jobs.read(job_id)).state is JobState.RUNNING

            await wait_until(runs, "the job runs")
            children = descendants(up.process.pid)
            up.signal(SIGKILL)
            await all_end(children, "the workers of a killed supervisor end")
            record = await jobs.read(job_id)
            await living(fleet, 0)
            await jobs.cancel(job_id)
    assert (record.state, record.interrupts, record.attempt) == (JobState.QUEUED, 1, 0)


async def test_a_job_that_kills_its_workers_ends_as_worker_lost(tmp_path: Path, redis_url: str) -> None:
    """Four workers die of it, without waiting for a lease; then it has failed, and workers go on with other jobs."""
    with gate(tmp_path / "gate") as folder, supervised(tmp_path, redis_url, "--processes", "2") as up:
        async with queue_at(redis_url) as jobs:
            (folder / "finish").touch()
            poison = await jobs.wait((await jobs.submit(die, str(folder))).id, timeout_s=30)
            other = await jobs.wait((await jobs.submit(hold, str(folder))).id, timeout_s=10)
        up.signal(SIGTERM)
        assert await up.ends() == 0
    assert poison.failure is not None
    assert (poison.failure.code, poison.rescues, poison.attempt) == ("worker_lost", 4, 1)
    assert other.state is JobState.SUCCEEDED
    assert [line["jobs"] for line in lines(up, "The jobs of a dead worker are due again")] == [1] * 4
