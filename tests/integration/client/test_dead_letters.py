"""Dead letters: jobs that failed for good, in groups, and how they are submitted again."""

from typing import Any

from arqway import JobContext, JobState, Registry, job
from arqway.workers.client import DeadLetters, JobFilter, Listing
from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord
from tests.conftest import OpenQueue, RunWorker
from tests.support.by_hand import ByHand
from tests.support.jobs import Number

EVERYTHING = JobFilter()


async def fail(by_hand: ByHand, count: int, fingerprint: str, **options: Any) -> list[JobRecord]:
    """Return so many jobs that have failed in the same way."""
    records = await by_hand.submit(count, **options)
    await by_hand.run(JobState.FAILED, fingerprint=fingerprint)
    return records


async def groups(by_hand: ByHand, tenant: str = "default") -> list[tuple[str, int]]:
    """Return the groups' fingerprints and sizes."""
    page = await DeadLetters(by_hand.queue, tenant).groups()
    assert page.total == len(page.groups)
    return [(group.fingerprint, group.jobs) for group, _ in page.groups]


async def waiting(by_hand: ByHand) -> list[JobRecord]:
    """Return what was submitted again, the earliest due first."""
    found = [record async for record in Listing(by_hand.queue).all(EVERYTHING) if record.retry_of]
    return sorted(found, key=lambda record: record.due_ms)


async def test_dead_letters_are_grouped_by_what_they_failed_of(by_hand: ByHand) -> None:
    """Each group tells its size, its first and latest failure and its latest job; the latest failure comes first."""
    a = await fail(by_hand, 3, "a1")
    b = await fail(by_hand, 1, "b2")
    await fail(by_hand, 2, "a1", tenant="acme")
    await by_hand.submit(2)
    await by_hand.run()
    page = await DeadLetters(by_hand.queue).groups()
    assert [(group.fingerprint, group.jobs) for group, _ in page.groups] == [("b2", 1), ("a1", 3)]
    (_, latest_b), (group_a, latest_a) = page.groups
    assert (latest_a.id in {record.id for record in a}, latest_b.id) == (True, b[0].id)
    assert group_a.first_ms <= group_a.latest_ms == latest_a.finished_ms
    assert await groups(by_hand, "acme") == [("a1", 2)]


async def test_groups_come_page_by_page(by_hand: ByHand) -> None:
    """A page of groups goes on behind those that were passed over."""
    for name in ("a1", "b2", "c3"):
        await fail(by_hand, 1, name)
    pages = [await DeadLetters(by_hand.queue).groups(skip=skip, limit=2) for skip in (0, 2, 4)]
    assert [[group.fingerprint for group, _ in page.groups] for page in pages] == [["c3", "b2"], ["a1"], []]
    assert {page.total for page in pages} == {3}


async def test_a_group_forgets_jobs_that_are_gone(by_hand: ByHand) -> None:
    """Jobs whose records have ended count no more, and a group of such jobs alone is none."""
    records = [*await fail(by_hand, 3, "a1"), *await fail(by_hand, 2, "b2")]
    for record in records[:4]:
        await by_hand.redis.delete(keys.record(record.id))
    assert await groups(by_hand) == [("b2", 1)]
    await by_hand.redis.delete(keys.record(records[4].id))
    assert await groups(by_hand) == []


async def test_alike_failures_have_one_fingerprint(run_worker: RunWorker, open_jobs: OpenQueue) -> None:
    """Failures from one place of the code are one group, whatever their texts; those from another place another."""

    @job("test.broken")
    async def broken(ctx: JobContext, payload: Number) -> None:
        if payload.value < 5:
            raise ValueError(f"order {payload.value}")
        raise KeyError(payload.value)

    registry = Registry([broken])
    async with run_worker(registry), open_jobs(registry) as jobs:
        for value in (1, 2, 7):
            await jobs.wait((await jobs.submit(broken, Number(value=value))).id, timeout_s=5)
        page = await DeadLetters(jobs).groups()
        assert sorted(group.jobs for group, _ in page.groups) == [1, 2]
        for group, latest in page.groups:
            assert latest.failure is not None
            assert latest.failure.fingerprint == group.fingerprint


async def test_a_redrive_submits_dead_letters_again(by_hand: ByHand) -> None:
    """Each dead letter becomes one new job, once; there are none left, and a second redrive does nothing."""
    failed = await fail(by_hand, 3, "a1")
    letters = DeadLetters(by_hand.queue)
    assert await letters.redrive(EVERYTHING) == (3, 3, False)
    assert {record.retry_of for record in await waiting(by_hand)} == {record.id for record in failed}
    assert await groups(by_hand) == []
    assert await letters.redrive(EVERYTHING) == (0, 0, False)


async def test_a_redrive_takes_what_its_filter_says(by_hand: ByHand) -> None:
    """Only dead letters of the tenant that fit are redriven; a state in the filter counts for nothing."""
    await fail(by_hand, 1, "a1", tags=["x"])
    wanted = await fail(by_hand, 1, "b2", tags=["x"])
    await fail(by_hand, 1, "b2", tags=["y"])
    await fail(by_hand, 1, "b2", tags=["x"], tenant="acme")
    which = JobFilter(fingerprint="b2", tag="x", state=JobState.QUEUED)
    assert await DeadLetters(by_hand.queue).redrive(which) == (1, 1, False)
    assert [record.retry_of for record in await waiting(by_hand)] == [wanted[0].id]
    assert sorted(await groups(by_hand)) == [("a1", 1), ("b2", 1)]


async def test_a_dry_run_only_counts(by_hand: ByHand) -> None:
    """A dry run tells how many match, and submits none."""
    await fail(by_hand, 3, "a1")
    assert await DeadLetters(by_hand.queue).redrive(EVERYTHING, dry_run=True) == (3, 0, False)
    assert await waiting(by_hand) == []
    assert await groups(by_hand) == [("a1", 3)]


async def test_a_redrive_stops_at_its_limit(by_hand: ByHand) -> None:
    """With a limit the latest are redriven, and it is told that more match; exactly as many as the limit are all."""
    failed = await fail(by_hand, 5, "a1")
    letters = DeadLetters(by_hand.queue)
    assert await letters.redrive(EVERYTHING, limit=2) == (2, 2, True)
    latest = sorted(failed, key=lambda record: (record.created_ms, record.id))[-2:]
    assert {record.retry_of for record in await waiting(by_hand)} == {record.id for record in latest}
    assert await letters.redrive(EVERYTHING, limit=3) == (3, 3, False)


async def test_a_redrive_with_a_rate_spreads_the_jobs(by_hand: ByHand) -> None:
    """At two jobs a second each is due half a second after the one before, also across portions."""
    await fail(by_hand, 60, "a1")
    await DeadLetters(by_hand.queue).redrive(EVERYTHING, rate=2)
    delays = sorted(record.due_ms - record.created_ms for record in await waiting(by_hand))
    assert delays == [500 * n for n in range(60)]


async def test_a_redrive_passes_over_jobs_that_cannot_run_now(by_hand: ByHand) -> None:
    """A dead letter whose unique key another job has stays one, and the others are redriven."""
    (kept,) = await fail(by_hand, 1, "a1", unique_key="u")
    await fail(by_hand, 2, "a1")
    await by_hand.submit(unique_key="u")
    assert await DeadLetters(by_hand.queue).redrive(EVERYTHING) == (3, 2, False)
    ((group, latest),) = (await DeadLetters(by_hand.queue).groups()).groups
    assert (group.jobs, latest.id) == (1, kept.id)


async def test_a_cancelled_job_is_no_dead_letter(by_hand: ByHand) -> None:
    """Only jobs that failed for good are dead letters: neither cancelled ones nor those that are tried again."""
    await by_hand.submit(2)
    cancelled, retried = await by_hand.claim()
    await by_hand.end(cancelled, state=JobState.CANCELLED)
    await by_hand.end(retried, state=JobState.RETRYING)
    assert await groups(by_hand) == []
    assert await DeadLetters(by_hand.queue).redrive(EVERYTHING) == (0, 0, False)
