"""What a job may say and ask, as it is in a unit test of a job."""

import functools
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from arqway.workers.context import JobContext, LocalAttempt
from arqway.workers.contract.errors import LeaseLost
from arqway.workers.contract.record import Progress


class Stored(BaseModel):
    """A step's result."""

    size: int
    took: timedelta = timedelta(seconds=1)


class Aliased(BaseModel):
    """A step's result whose JSON has other names."""

    user_id: int = Field(alias="userId")


class LostAttempt(LocalAttempt):
    """The link of an attempt whose job another worker owns by now."""

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Keep nothing."""
        return None


class Calls:
    """Steps that can be counted."""

    def __init__(self) -> None:
        self.made: list[int] = []

    async def store(self, size: int, *, times: int = 1) -> Stored:
        """Be a step."""
        self.made.append(size)
        return Stored(size=size * times)

    async def nothing(self) -> None:
        """Be a step without a result."""
        self.made.append(0)


async def test_reports_are_remembered() -> None:
    """A unit test can look at what the job reported, in order."""
    ctx = JobContext(None, link=(link := LocalAttempt()))
    await ctx.progress(1)
    await ctx.progress(2, total=4, message="half")
    assert link.reports == [Progress(1), Progress(2, 4, "half")]


@pytest.mark.parametrize("number", [1j, "1", object(), None, float("nan")])
async def test_a_number_that_json_cannot_hold_is_refused_at_the_call(number: Any) -> None:
    """A wrong report is the job's error where it is made, not the worker's when it is written."""
    with pytest.raises((TypeError, ValueError)):
        await JobContext(None).progress(number)


async def test_a_step_runs_once() -> None:
    """The second call of a step, as a later attempt makes it, gets the kept result and runs nothing."""
    calls, link = Calls(), LocalAttempt()
    first, second = [await JobContext(None, link=link).step("s", calls.store, 3, times=2) for _ in range(2)]
    assert (first, second, calls.made) == (Stored(size=6), Stored(size=6), [3])


async def test_a_step_without_a_result_runs_once() -> None:
    """None is a result like another."""
    calls, ctx = Calls(), JobContext(None)
    for _ in range(2):
        await ctx.step("s", calls.nothing)
    assert calls.made == [0]


async def test_steps_are_told_apart_by_name() -> None:
    """Two names are two steps, though the function is one."""
    calls, ctx = Calls(), JobContext(None)
    assert [(await ctx.step(name, calls.store, size)).size for name, size in (("a", 1), ("b", 2))] == [1, 2]
    assert calls.made == [1, 2]


async def test_a_result_has_the_type_of_its_annotation() -> None:
    """A step's result is what its annotation says, in the first attempt and in those that read it."""
    ctx = JobContext(None)
    for _ in range(2):
        stored = await ctx.step("s", Calls().store, 1)
        assert (type(stored), stored.took) == (Stored, timedelta(seconds=1))


async def test_without_an_annotation_a_result_is_json() -> None:
    """A step that does not say what it returns gives JSON values, in every attempt the same."""

    async def pair():  # type: ignore[no-untyped-def]  # noqa: ANN202
        return (1, 2)

    ctx = JobContext(None)
    assert [await ctx.step("s", pair) for _ in range(2)] == [[1, 2], [1, 2]]


async def test_a_result_with_aliases_is_kept() -> None:
    """A model is read back by the names under which it was written."""

    async def find() -> Aliased:
        return Aliased(userId=7)

    assert await JobContext(None).step("s", find) == Aliased(userId=7)


async def test_a_step_may_have_its_arguments_already() -> None:
    """``functools.partial`` is a step too."""
    stored = await JobContext(None).step("s", functools.partial(Calls().store, 5))
    assert stored == Stored(size=5)


async def test_a_step_that_fails_is_not_kept() -> None:
    """The error is the job's; the next attempt calls again."""
    link = LocalAttempt()

    async def fail() -> int:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await JobContext(None, link=link).step("s", fail)
    assert link.steps == {}


async def test_a_result_of_the_wrong_type_is_not_kept() -> None:
    """What the annotation does not allow fails this attempt, not every later one too."""
    link = LocalAttempt()

    async def lie() -> int:
        return "text"  # type: ignore[return-value]

    with pytest.raises(Exception, match="int"):
        await JobContext(None, link=link).step("s", lie)
    assert link.steps == {}


async def test_a_job_that_another_worker_owns_keeps_no_step() -> None:
    """The step has run, and the job is told that it must not go on."""
    calls = Calls()
    with pytest.raises(LeaseLost):
        await JobContext(None, link=LostAttempt()).step("s", calls.store, 1)
    assert calls.made == [1]


async def test_a_context_for_a_unit_test_needs_resources_only() -> None:
    """All else has a value that means nothing in particular."""
    ctx = JobContext(["db"])
    assert (ctx.resources, ctx.attempt, ctx.max_attempts, ctx.deadline_near.is_set()) == (["db"], 1, 1, False)
