"""Jobs that block the event loop of their worker: kept and reported for long, given up when the loop is dead."""

from pathlib import Path

from redis import Redis

from arqway.workers.client import JobQueue
from tests.faults.conftest import StartCrew
from tests.support.fault_jobs import Place, Work, block, hold, notes
from tests.support.fault_records import all_end, all_succeeded
from tests.support.waiting import wait_until

LEASE_S = 1.0
BLOCKED = "The event loop is blocked; no other job of this worker can go on"
DROPPED = "Another worker owns this job now; its outcome here is dropped"


async def test_a_loop_blocked_for_three_leases_keeps_its_jobs(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """The job is not run twice, though another worker is idle; the log names its kind, the seconds and the stack."""
    crew = start_crew(lease_s=LEASE_S)
    await crew.start(2)
    job_id = (await jobs.submit(block, Work(folder=place, seconds=3 * LEASE_S + 0.5))).id
    await all_end(client, timeout_s=20)

    (record,) = await all_succeeded(jobs, client, [job_id])
    assert (record.attempt, record.rescues) == (1, 0)
    assert len(notes(place, "begin")) == 1
    (report,) = crew.logged(BLOCKED)
    assert (report["kind"], report["job_id"]) == ("fault.block", job_id)
    assert 1 <= report["blocked_s"] <= 2
    assert "time.sleep(payload.seconds)" in report["stack"]
    assert crew.complaints() == []


async def test_a_loop_blocked_beyond_the_stall_limit_loses_its_jobs(
    jobs: JobQueue, client: Redis, place: Path, start_crew: StartCrew
) -> None:
    """The blocking job and the one beside it run again elsewhere; what the dead loop does later is dropped."""
    crew = start_crew(lease_s=LEASE_S, stall_s=1.5)
    (stalled,) = await crew.start()
    beside = (await jobs.submit(hold, Place(folder=place))).id
    await wait_until(lambda: notes(place, "begin"), "a job runs")
    other_place = place / "blocking"
    other_place.mkdir()
    blocking = (await jobs.submit(block, Work(folder=other_place))).id
    await wait_until(lambda: notes(other_place, "begin"), "a job blocks the loop")
    (other,) = await crew.start()

    await wait_until(lambda: notes(other_place, "end"), "the blocking job ends elsewhere")
    await wait_until(lambda: len(notes(place, "begin")) == 2, "the job beside it runs elsewhere")
    (place / f"finish-{other.pid}").touch()
    await all_end(client, timeout_s=10)
    (other_place / "finish").touch()
    await wait_until(lambda: len(stalled.logged(DROPPED)) == 2, "both jobs are dropped by the worker that lost them")

    records = await all_succeeded(jobs, client, [blocking, beside])
    assert [(record.result, record.rescues) for record in records] == [(other.pid, 1)] * 2
    assert stalled.running
    assert crew.complaints() == []
