"""Duties go on: whatever ends one is logged, and it is started again; one that keeps failing is reported."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from arqway.workers import background
from arqway.workers.background import Duty, DutyError, supervise, supervised
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_RESTART_CAP_S", 0.001)


def that(ends: Iterable[BaseException | None]) -> tuple[Duty, list[int], asyncio.Event]:
    """Return a duty that ends so each time it is started, and goes on after that; its starts; and its last one."""
    endings, starts, steady = iter(ends), [], asyncio.Event()

    async def duty() -> None:
        starts.append(1)
        for ending in endings:
            if ending is not None:
                raise ending
            return
        steady.set()
        await asyncio.Event().wait()

    return duty, starts, steady


@asynccontextmanager
async def kept(*duties: Duty) -> "AsyncIterator[list[asyncio.Task[None]]]":
    """Supervise duties for the time of the block."""
    async with supervised({f"duty {n}": duty for n, duty in enumerate(duties)}) as tasks:
        yield tasks  # type: ignore[misc]


@pytest.mark.parametrize(
    "ending",
    [ValueError("a bug"), OSError(24, "too many open files"), asyncio.CancelledError(), StopAsyncIteration(), None],
    ids=repr,
)
async def test_a_duty_that_ends_is_started_again(
    ending: BaseException | None, caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever exception, or without one: that is logged with the duty's name, and the others do not notice."""
    duty, starts, steady = that([ending] * 3)
    other, others_starts, _ = that([])
    async with kept(duty, other) as tasks:
        await steady.wait()
        assert [task.done() for task in tasks] == [False, False]
    assert (len(starts), len(others_starts)) == (4, 1)
    failed = [line for line in caplog.records if "failed" in line.message]
    assert [(vars(line)["duty"], line.levelname) for line in failed] == [("duty 0", "ERROR")] * 3
    assert all(line.exc_info for line in failed)


async def test_a_duty_that_keeps_failing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """After ten failures in a row its task ends with DutyError, which names it and its last error."""
    duty, starts, _ = that(ValueError(n) for n in range(100))
    async with kept(duty) as (task,):
        await asyncio.wait([task])
        with pytest.raises(DutyError, match=r"duty 0 .*ValueError\(9\)"):
            task.result()
    assert len(starts) == 10
    assert caplog.records[-1].levelname == "CRITICAL"


async def test_failures_that_are_far_apart_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A duty that has worked for a while in between is healthy, however often that happens."""
    monkeypatch.setattr(background, "_STEADY_S", 0.0)
    duty, starts, steady = that([ValueError()] * 30)
    async with kept(duty):
        await steady.wait()
    assert len(starts) == 31


async def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A duty that fails again and again is no busy loop."""
    monkeypatch.setattr(background, "_RESTART_CAP_S", 5.0)
    pauses: list[float] = []
    sleep: Callable[[float], object] = asyncio.sleep

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)
        await sleep(0)  # type: ignore[misc]

    monkeypatch.setattr(asyncio, "sleep", note)
    duty, _, _ = that([ValueError()] * 10)
    with pytest.raises(DutyError):
        await supervise("duty", duty)
    assert len(pauses) == 9
    assert pauses[0] <= 0.05
    assert 2.5 <= pauses[-1] <= 5


async def test_duties_end_with_their_block() -> None:
    """Also one that is waiting to be started again, and one that is slow to end."""
    ended: list[int] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    failing, starts, _ = that(ValueError(n) for n in range(100))
    async with kept(slow, failing) as tasks:
        await wait_until(lambda: starts, "both have begun")
    assert ended == [1]
    assert all(task.done() for task in tasks)
