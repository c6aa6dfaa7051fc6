"""Items that come together are written together, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.store.batcher import Batcher
from tests.support.waiting import wait_until


class Disk:
    """A place to write to that takes its time: a write is under way until ``free`` lets it end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.written: list[int] = []
        self.error: Exception | None = None
        self._free = asyncio.Semaphore(0)

    async def write(self, items: Sequence[int]) -> list[str]:
        """Take the items, wait to be freed, and answer each."""
        self.batches.append(list(items))
        await self._free.acquire()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.written += items
        return [f"answer {item}" for item in items]

    def free(self, writes: int = 1) -> None:
        """Let so many writes end."""
        for _ in range(writes):
            self._free.release()


@pytest.fixture
async def disk() -> Disk:
    """A place to write to."""
    return Disk()


@pytest.fixture
async def commit(disk: Disk) -> AsyncIterator[Batcher[int, str]]:
    """A batcher of at most three items a write; nothing is left under way."""
    group = Batcher(disk.write, max_items=3)
    yield group
    disk.free(100)
    await group.drained()


async def begun(disk: Disk, writes: int = 1) -> None:
    """Return once so many writes have begun."""
    await wait_until(lambda: len(disk.batches) >= writes, f"{writes} writes have begun")


async def test_a_lonely_call_is_written_at_once(disk: Disk, commit: Batcher[int, str]) -> None:
    """Nobody waits for company."""
    disk.free()
    assert await commit(1) == "answer 1"
    assert disk.batches == [[1]]


async def test_calls_during_a_write_share_the_next(disk: Disk, commit: Batcher[int, str]) -> None:
    """What gathers while one write is under way is the next batch, in the order of the calls."""
    answers = [commit(1)]
    await begun(disk)
    answers += [commit(2), commit(3)]
    disk.free(2)
    assert await asyncio.gather(*answers) == ["answer 1", "answer 2", "answer 3"]
    assert disk.batches == [[1], [2, 3]]


async def test_calls_of_one_turn_of_the_loop_share_a_write(disk: Disk, commit: Batcher[int, str]) -> None:
    """Concurrent calls on an idle batcher go together from the first."""
    disk.free()
    assert list(await asyncio.gather(commit(1), commit(2))) == ["answer 1", "answer 2"]
    assert disk.batches == [[1, 2]]


async def test_no_write_is_larger_than_the_bound(disk: Disk, commit: Batcher[int, str]) -> None:
    """More calls than fit go in several writes, one after the other, and none is lost."""
    disk.free(3)
    answers = await asyncio.gather(*map(commit, range(7)))
    assert disk.batches == [[0, 1, 2], [3, 4, 5], [6]]
    assert answers == [f"answer {item}" for item in range(7)]


async def test_an_error_reaches_every_caller_of_its_batch(disk: Disk, commit: Batcher[int, str]) -> None:
    """While Redis is away all calls of a failed write raise that, and no other call does."""
    disk.error = StoreUnavailable("away")
    early = [asyncio.ensure_future(commit(item)) for item in (1, 2)]
    await begun(disk)
    later = asyncio.ensure_future(commit(3))
    disk.free(2)
    outcomes = await asyncio.gather(*early, later, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["away", "away", "answer 3"]


async def test_a_batcher_goes_on_after_an_error(disk: Disk, commit: Batcher[int, str]) -> None:
    """A failed write leaves nothing behind."""
    disk.error = StoreUnavailable("away")
    disk.free(2)
    with pytest.raises(StoreUnavailable, match="away"):
        await commit(1)
    assert await commit(1) == "answer 1"


async def test_a_caller_that_gave_up_disturbs_nobody(disk: Disk, commit: Batcher[int, str]) -> None:
    """The others of its batch get their answers; its own item may still be written."""
    calls = [asyncio.ensure_future(commit(item)) for item in (1, 2)]
    await begun(disk)
    calls[0].cancel()
    disk.free()
    assert await calls[1] == "answer 2"
    assert disk.written == [1, 2]


async def test_a_caller_that_gave_up_misses_the_error_too(disk: Disk, commit: Batcher[int, str]) -> None:
    """An error meets those who still wait."""
    disk.error = StoreUnavailable("away")
    calls = [asyncio.ensure_future(commit(item)) for item in (1, 2)]
    await begun(disk)
    calls[0].cancel()
    disk.free()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, StoreUnavailable]


async def test_drained_returns_when_all_is_written(disk: Disk, commit: Batcher[int, str]) -> None:
    """What waits and what is under way is written before ``drained`` returns, and not later."""
    for item in range(5):
        commit(item)
    draining = asyncio.ensure_future(commit.drained())
    for writes in (1, 2):
        await begun(disk, writes)
        assert not draining.done()
        disk.free()
    await draining
    assert disk.written == [0, 1, 2, 3, 4]


async def test_drained_waits_for_what_came_after_it(disk: Disk, commit: Batcher[int, str]) -> None:
    """An item posted while the last write is under way is waited for too."""
    commit(1)
    draining = asyncio.ensure_future(commit.drained())
    await begun(disk)
    commit(2)
    disk.free(2)
    await draining
    assert disk.written == [1, 2]


async def test_an_idle_batcher_is_drained(commit: Batcher[int, str]) -> None:
    """There is nothing to wait for where nothing was posted."""
    async with asyncio.timeout(1):
        await commit.drained()


async def test_a_write_that_answers_too_little_is_an_error_for_all() -> None:
    """Nobody waits for ever for an answer that the write did not give."""

    async def forgetful(items: Sequence[int]) -> list[str]:
        return []

    commit = Batcher(forgetful)
    with pytest.raises(ValueError, match="0 answers for 1 items"):
        async with asyncio.timeout(1):
            await commit(1)


async def test_a_patient_batcher_keeps_its_items_through_an_outage(disk: Disk) -> None:
    """While Redis is away nothing is dropped and nobody gets an error; afterwards all is written, in order."""
    patient = Batcher(disk.write, patient=True)
    disk.error = StoreUnavailable()
    disk.free(3)
    first = patient(1)
    await begun(disk)
    second = patient(2)
    assert patient.backlog == 2
    assert [await first, await second] == ["answer 1", "answer 2"]
    assert disk.batches[:2] == [[1], [1]]
    assert disk.written == [1, 2]
    assert patient.backlog == 0


async def test_others_get_their_turns_before_a_write() -> None:
    """A batcher with turns to spare lets what is ready go first, and takes along what that adds."""
    seen: list[str] = []

    async def write(items: Sequence[str]) -> Sequence[str]:
        seen.extend(items)
        return items

    async def claim() -> None:
        await asyncio.sleep(0)
        seen.append("claim")
        batcher("late")

    batcher = Batcher(write, turns=3)
    batcher("early")
    await asyncio.gather(claim(), batcher.drained())
    assert seen == ["claim", "early", "late"]


async def test_callers_are_cancelled_with_their_event_loop() -> None:
    """When the writing task is cancelled, as at the end of a loop, nobody waits for ever."""
    never = asyncio.Event()

    async def stuck(items: Sequence[int]) -> Sequence[int]:
        await never.wait()
        return items

    batcher = Batcher(stuck, max_items=1)
    answers = [batcher(1), batcher(2)]
    await asyncio.sleep(0)
    (writer,) = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    writer.cancel()
    await asyncio.wait(answers)
    assert [answer.cancelled() for answer in answers] == [True, True]
