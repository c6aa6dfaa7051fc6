"""Lists of jobs: every filter, and pages that stay right while jobs come, go and move on."""

import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.client import JobFilter, Listing
from arqway.workers.client.lists import JobPage, _read_cursor
from arqway.workers.contract import keys
from arqway.workers.contract.errors import InvalidCursor
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.store.jobs import BatchOpening, JobStore
from tests.support.by_hand import ByHand, first, second
from tests.support.jobs import Number
from tests.support.plain_jobs import submission

EVERYTHING = JobFilter()


async def ids(by_hand: ByHand, which: JobFilter = EVERYTHING, *, tenant: str = "default", limit: int = 3) -> list[str]:
    """Return the ids of all pages."""
    found, cursor = [], None
    while True:
        page = await Listing(by_hand.queue, tenant).page(which, limit=limit, cursor=cursor)
        assert len(page.jobs) <= limit
        found += [record.id for record in page.jobs]
        if (cursor := page.cursor) is None:
            return found


async def test_jobs_are_listed_by_each_part_of_a_filter(by_hand: ByHand) -> None:
    """State, kind, queue, tag and tenant each choose the jobs for which they hold, and together those of all."""
    await by_hand.submit(job_id="one", tags=["x"])
    await by_hand.submit(job_id="two", tags=["x", "y"], queue="slow")
    await by_hand.queue.submit(second, Number(value=3), job_id="three", delay=timedelta(hours=1))
    await by_hand.submit(job_id="theirs", tags=["x"], tenant="acme")
    await by_hand.run(JobState.FAILED)
    await by_hand.submit(job_id="four", tags=["y"])

    assert set(await ids(by_hand)) == {"one", "two", "three", "four"}
    assert await ids(by_hand, tenant="acme") == ["theirs"]
    assert await ids(by_hand, JobFilter(state=JobState.QUEUED)) == ["four"]
    assert await ids(by_hand, JobFilter(state=JobState.SCHEDULED)) == ["three"]
    assert set(await ids(by_hand, JobFilter(state=JobState.FAILED))) == {"one", "two"}
    assert await ids(by_hand, JobFilter(kind="hand.second")) == ["three"]
    assert set(await ids(by_hand, JobFilter(queue="slow"))) == {"two", "three"}
    assert set(await ids(by_hand, JobFilter(tag="x"))) == {"one", "two"}
    assert await ids(by_hand, JobFilter(tag="y", state=JobState.FAILED)) == ["two"]
    assert await ids(by_hand, JobFilter(tag="y", queue="default")) == ["four"]
    assert set(await ids(by_hand, JobFilter(fingerprint="f0"))) == {"one", "two"}
    assert await ids(by_hand, JobFilter(fingerprint="f0", tag="y")) == ["two"]
    assert await ids(by_hand, JobFilter(kind="hand.first", queue="slow", tag="x", state=JobState.FAILED)) == ["two"]
    assert await ids(by_hand, JobFilter(kind="no.such")) == await ids(by_hand, JobFilter(tag="nobodys")) == []
    assert await ids(by_hand, tenant="nobody") == []


async def test_running_jobs_are_listed_whatever_their_leases(by_hand: ByHand) -> None:
    """A job that runs is listed as running, also when its lease has run out and nobody has rescued it yet."""
    await by_hand.submit(2)
    claims = await by_hand.claim()
    await by_hand.redis.zadd(keys.queue("default"), {claims[0].id: 1})
    assert set(await ids(by_hand, JobFilter(state=JobState.RUNNING))) == {claim.id for claim in claims}
    assert await ids(by_hand, JobFilter(state=JobState.QUEUED)) == []


async def test_jobs_are_listed_by_time(redis_url: str, by_hand: ByHand) -> None:
    """The earliest and the latest time are both within; the latest job comes first."""
    clock = iter([1_000, 2_000, 3_000])
    store = JobStore(by_hand.redis, clock=lambda: next(clock))
    for name in ("a", "b", "c"):
        await store.submit([submission(name, "default", "k", "default", 0, {})])
    assert await ids(by_hand) == ["c", "b", "a"]
    assert await ids(by_hand, JobFilter(from_ms=2_000)) == ["c", "b"]
    assert await ids(by_hand, JobFilter(to_ms=2_000)) == ["b", "a"]
    assert await ids(by_hand, JobFilter(from_ms=2_000, to_ms=2_000)) == ["b"]
    assert await ids(by_hand, JobFilter(from_ms=3_001)) == []


async def test_jobs_of_a_batch_are_listed_in_its_order(by_hand: ByHand) -> None:
    """The jobs of a batch come in the order of their places, the last first, of the right tenant only."""
    many = [submission(f"b.{n}", "acme", "k", "default", 0, {"batch": "b", "tags": ["t"]}) for n in range(12)]
    await by_hand.store.submit(many, BatchOpening(id="b", tenant="acme", atomic=True))
    expected = [f"b.{n}" for n in reversed(range(12))]
    assert await ids(by_hand, JobFilter(batch="b"), tenant="acme") == expected
    assert await ids(by_hand, JobFilter(batch="b", tag="t"), tenant="acme") == expected
    assert await ids(by_hand, JobFilter(batch="b", tag="u"), tenant="acme") == []
    assert await ids(by_hand, JobFilter(batch="b")) == []


async def test_ids_of_one_moment_are_each_on_one_page(by_hand: ByHand) -> None:
    """Jobs of one millisecond, with ids in upper and lower case, are listed once each, in the order of their bytes."""
    store = JobStore(by_hand.redis, clock=lambda: 5_000)
    names = [f"{letter}{n}" for n in range(40) for letter in "aAzZ09"]
    many = [submission(name, "default", f"kind{n % 3}", "default", 0, {}) for n, name in enumerate(names)]
    await store.submit(many)
    expected = sorted(names, reverse=True)
    for limit in (1, 7, 100):
        assert await ids(by_hand, limit=limit) == expected


async def test_pages_hold_while_jobs_come_and_move_on(by_hand: ByHand) -> None:
    """A job that is there all the time is on exactly one page, though between pages jobs come, run, end and vanish."""
    await by_hand.submit(30)
    there = set(await ids(by_hand))
    seen: list[str] = []
    page: JobPage | None = None
    while page is None or page.cursor is not None:
        page = await Listing(by_hand.queue).page(EVERYTHING, limit=4, cursor=page and page.cursor)
        seen += [record.id for record in page.jobs]
        await by_hand.submit(2)
        claims = await by_hand.claim(4)
        await by_hand.end(*claims[:2])
        if seen[-1:] and len(seen) == 8:
            await by_hand.redis.delete(keys.record(seen[-1]))
    assert len(seen) == len(set(seen))
    assert set(seen) == there


async def test_a_page_of_a_state_holds_nothing_else(by_hand: ByHand) -> None:
    """A list by state goes on behind its cursor when the jobs before it have left the state."""
    await by_hand.submit(9)
    queued = JobFilter(state=JobState.QUEUED)
    page = await Listing(by_hand.queue).page(queued, limit=4)
    await by_hand.run()
    await by_hand.submit(1)
    assert await Listing(by_hand.queue).page(queued, limit=4, cursor=page.cursor) == JobPage([], None)


async def test_a_job_that_moves_on_just_now_is_on_no_page(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that leaves the state after its id was found, before its record is read, is not shown in another one."""
    await by_hand.submit(3)
    read_many = by_hand.queue.read_many

    async def read_later(ids: list[str]) -> list[JobRecord]:
        await by_hand.end(*await by_hand.claim(2))
        return await read_many(ids)

    monkeypatch.setattr(by_hand.queue, "read_many", read_later)
    page = await Listing(by_hand.queue).page(JobFilter(state=JobState.QUEUED), limit=10)
    assert [record.state for record in page.jobs] == [JobState.QUEUED]


async def test_a_job_whose_record_is_gone_is_passed_over(by_hand: ByHand) -> None:
    """A list gives no job whose record is gone, before it has left the list too, and the page is full nevertheless."""
    records = await by_hand.submit(6)
    await by_hand.run()
    for record in records[3:5]:
        await by_hand.redis.delete(keys.record(record.id))
    page = await Listing(by_hand.queue).page(EVERYTHING, limit=4)
    assert sorted(record.id for record in page.jobs) == sorted(records[n].id for n in (0, 1, 2, 5))
    assert page.cursor is None


async def test_a_sparse_filter_gives_short_pages_that_go_on(by_hand: ByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few of many jobs fit, a page may be empty, but has a cursor; all pages together hold every job once."""
    monkeypatch.setattr("arqway.workers.store.lists._LOOKS", 5)
    await by_hand.submit(1, tags=["t"], job_id="old")
    await by_hand.run()
    await by_hand.submit(20, tags=["t"])
    rare = JobFilter(tag="t", state=JobState.SUCCEEDED)
    page = await Listing(by_hand.queue).page(rare, limit=3)
    assert page.jobs == []
    assert page.cursor is not None
    assert await ids(by_hand, rare) == ["old"]


async def test_an_id_that_a_stock_producer_uses_again_is_one_job(by_hand: ByHand) -> None:
    """When stock arq puts an ended job's id into the queue again the id is listed once, as the job that it is now."""
    (old,) = await by_hand.submit(job_id="again", tags=["t"])
    await by_hand.run()
    await by_hand.redis.set(keys.envelope(old.id), b'{"t":null,"f":"stock","a":[],"k":{},"et":null}')
    await by_hand.redis.zadd(keys.queue("default"), {old.id: 1})
    (claim,) = await by_hand.claim()
    assert claim.kind == "stock"
    assert await ids(by_hand) == await ids(by_hand, JobFilter(state=JobState.RUNNING)) == ["again"]
    assert await ids(by_hand, JobFilter(tag="t")) == await ids(by_hand, JobFilter(state=JobState.SUCCEEDED)) == []


@pytest.mark.parametrize("accepted", ["NaN", "-5", "1e300", '"soon"', "null", "1.5", "9e15"])
async def test_a_stock_producers_odd_time_harms_nobody(by_hand: ByHand, accepted: str) -> None:
    """Whatever a stock envelope says of its time, its job is claimed and listed, and so are the others of the queue."""
    redis = by_hand.redis
    await redis.set(keys.envelope("odd"), b'{"t":null,"f":"stock","a":[],"k":{},"et":%b}' % accepted.encode())
    await redis.zadd(keys.queue("default"), {"odd": 1})
    await by_hand.submit(job_id="even")
    assert {claim.id for claim in await by_hand.claim()} == {"odd", "even"}
    assert set(await ids(by_hand, limit=1)) == {"odd", "even"}


async def test_a_cursor_is_of_one_filter_and_tenant(by_hand: ByHand) -> None:
    """A cursor is refused for another filter, and for another tenant."""
    await by_hand.submit(3)
    page = await Listing(by_hand.queue).page(EVERYTHING, limit=1)
    for listing, which in (
        (Listing(by_hand.queue), JobFilter(kind=first.kind)),
        (Listing(by_hand.queue, "acme"), EVERYTHING),
    ):
        with pytest.raises(InvalidCursor):
            await listing.page(which, limit=1, cursor=page.cursor)


def _encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "\ud800", _encoded("{}"), _encoded("[1]"), _encoded('[1, "\\ud800", "x"]'), _encoded("[" * 9_000)],
)
async def test_what_is_no_cursor_is_refused(by_hand: ByHand, cursor: str) -> None:
    """Whatever a client makes up is told to be no cursor, and nothing else happens."""
    with pytest.raises(InvalidCursor):
        await Listing(by_hand.queue).page(EVERYTHING, limit=1, cursor=cursor)


@given(score=st.integers() | st.floats() | st.booleans() | st.none(), job_id=st.text() | st.integers())
def test_a_made_up_place_is_refused_or_a_place(score: Any, job_id: Any) -> None:
    """A cursor with a right mark holds a whole number and a text that Redis can take, or is refused."""
    cursor = _encoded(json.dumps([score, job_id, "mark"]))
    try:
        found = _read_cursor(cursor, "mark")
    except InvalidCursor:
        assert type(score) is not int or not isinstance(job_id, str)
    else:
        assert found == (score, job_id)


async def test_a_list_does_not_grow_with_the_number_of_tags(by_hand: ByHand) -> None:
    """The names of tags, of which there may be as many as jobs, are apart from those that a list of jobs reads."""
    for n in range(5):
        await by_hand.submit(tags=[f"customer{n}"])
    assert await by_hand.redis.scard("live-lists:default") == 1
