"""``ctx.submit`` in a unit test of a job: what was submitted is remembered, and ids are stable."""

import pytest

from arqway import JobContext, JobState, LocalAttempt, job
from arqway.workers.context import ChildIds
from arqway.workers.contract.errors import DuplicateJob, InvalidPayload
from arqway.workers.contract.keys import is_job_id
from tests.support.jobs import SOON, Number, double


@job("test.parent")
async def parent(ctx: JobContext, payload: Number) -> str:
    """Submit one job."""
    return (await ctx.submit(double, payload, tags=["child"], delay=SOON)).id


async def test_a_unit_test_sees_what_was_submitted() -> None:
    """Job, payload and options, as they were given, in order."""
    link = LocalAttempt()
    child_id = await parent(JobContext(None, link=link), Number(value=1))
    (submitted,) = link.submitted.values()
    assert (submitted.job, submitted.payload) == (double, Number(value=1))
    assert submitted.options == {"tags": ["child"], "delay": SOON, "job_id": child_id}
    assert (submitted.record.state, submitted.record.tags) == (JobState.SCHEDULED, ("child",))


async def test_a_second_attempt_on_the_same_link_submits_nothing() -> None:
    """As on a worker."""
    link = LocalAttempt()
    first = await parent(JobContext(None, link=link), Number(value=1))
    assert await parent(JobContext(None, link=link, attempt=2), Number(value=1)) == first
    assert len(link.submitted) == 1


async def test_a_payload_that_does_not_fit_is_refused_in_a_unit_test() -> None:
    """So the mistake is found where the test is run."""
    with pytest.raises(InvalidPayload):
        await JobContext(None).submit(double, Number.model_construct(value="x"))


async def test_an_own_id_is_refused_twice() -> None:
    """As by ``JobQueue.submit``."""
    ctx = JobContext(None)
    await ctx.submit(double, Number(value=1), job_id="mine")
    with pytest.raises(DuplicateJob):
        await ctx.submit(double, Number(value=1), job_id="mine")


def new_ids(ids: ChildIds, *contents: tuple[str, bytes]) -> list[str]:
    """Return the next id for each content."""
    found = []
    for content in contents:
        with ids.next(*content) as child_id:
            found.append(child_id)
    return found


def test_ids_follow_from_parent_content_and_number() -> None:
    """The same for every attempt, in whatever order; different for everything else."""
    a, b, c = ("k", b"1"), ("k", b"2"), ("k1", b"")
    first = new_ids(ChildIds("p"), a, a, b, c)
    assert new_ids(ChildIds("p"), c, b, a, a) == [first[3], first[2], first[0], first[1]]
    others = [*new_ids(ChildIds("q"), a, a, b, c), ChildIds("p").keyed("a"), ChildIds("p").keyed("b")]
    assert len({*first, *others}) == 10
    assert all(is_job_id(child_id) for child_id in [*first, *others])


def test_no_key_collides_with_a_content() -> None:
    """Not even one that looks like the digest of a content."""
    (child_id,) = new_ids(ChildIds("p"), ("k", b"1"))
    assert child_id not in {ChildIds("p").keyed(key) for key in ("k", "1", "content", "k\x001", "\ud800")}


def test_an_id_that_was_not_used_is_given_again() -> None:
    """And the one after it is not touched by that."""
    ids, content = ChildIds("p"), ("k", b"1")
    with pytest.raises(ValueError, match="away"), ids.next(*content) as unused:
        raise ValueError("away")
    assert new_ids(ids, content, content) == new_ids(ChildIds("p"), content, content)
    assert unused == new_ids(ChildIds("p"), content)[0]
