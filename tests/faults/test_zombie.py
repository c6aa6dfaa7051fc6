"""A worker that was stopped past its lease and goes on: it has lost its job, and writes nothing any more."""

from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM

import pytest
from redis import Redis

from arqway.workers.client import JobQueue
from arqway.workers.contract import keys
from tests.faults.conftest import StartCrew
from tests.support.fault_jobs import Place, hold, notes, zombie
from tests.support.fault_records import QUEUE, all_end, all_succeeded, events, snapshot
from tests.support.waiting import wait_until

DROPPED = "Another worker owns this job now; its outcome here is dropped"


@pytest.mark.parametrize("finished", [True, False], ids=["finished elsewhere", "running elsewhere"])
async def test_a_zombie_changes_nothing_and_says_so(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew, *, finished: bool
) -> None:
    """Stopped past its lease, then continued: its progress, step, event and result leave the record as it was."""
    crew = start_crew(lease_s=1, cancel_grace_s=30)
    (stopped,) = await crew.start()
    job_id = (await jobs.submit(zombie, Place(folder=place))).id
    await wait_until(lambda: notes(place, "begin"), "the job runs")

    stopped.signal(SIGSTOP)
    (other,) = await crew.start()
    await wait_until(lambda: len(notes(place, "begin")) == 2, "the job runs elsewhere")
    if finished:
        (place / f"finish-{other.pid}").touch()
        await all_end(client, timeout_s=10)
    before = snapshot(client, job_id)

    (place / f"finish-{stopped.pid}").touch()
    stopped.signal(SIGCONT)
    await stopped.says(DROPPED)
    assert snapshot(client, job_id) == before
    assert [line.pid for line in notes(place, "refused")] == [stopped.pid]
    assert [line["job_id"] for line in stopped.logged(DROPPED)] == [job_id]
    assert stopped.running

    (place / "finish").touch()
    await all_end(client, timeout_s=10)
    (record,) = await all_succeeded(jobs, client, [job_id])
    assert (record.result, record.attempt, record.rescues) == (other.pid, 1, 1)
    assert [line.pid for line in notes(place, "kept")] == [other.pid]
    assert crew.complaints() == []


async def test_a_worker_that_claims_its_own_job_again_does_not_run_it_beside_itself(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """The lease ends while Redis is away, and the worker itself is the first to claim: one run goes on, not two."""
    crew = start_crew(lease_s=30, drain_s=20)
    (worker,) = await crew.start()
    job_id = (await jobs.submit(hold, Place(folder=place))).id
    await wait_until(lambda: notes(place, "begin"), "the job runs")

    end_lease(client, job_id)
    await wait_until(lambda: len(events(client, job_id)) == 2, "the worker claims its own job")

    def runs_once() -> bool:
        return len(notes(place, "begin")) - len(notes(place, "cancelled")) == 1

    await wait_until(runs_once, "the job does not run beside itself", timeout_s=2)
    worker.signal(SIGTERM)
    await worker.says("Stopping")
    (place / "finish").touch()
    assert await worker.ends() == 0
    await all_succeeded(jobs, client, [job_id])
    assert len(notes(place, "end")) == 1
    assert crew.complaints() == []


def end_lease(client: Redis, job_id: str) -> None:
    """Make the lease of a running job end now, and wake its worker."""
    with client.pipeline(transaction=True) as pipe:
        pipe.delete(keys.lease(job_id))
        pipe.zadd(QUEUE, {job_id: 0})
        pipe.rpush(keys.wake(keys.DEFAULT_QUEUE), 1)
        pipe.execute()
