"""Items that come together are written together, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    answers = [commit.post(1)]
    await begun(disk)
    answers += [commit.post(2), commit.post(3)]
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
        commit.post(item)
    draining = asyncio.ensure_future(commit.drained())
    for writes in (1, 2):
        await begun(disk, writes)
        assert not draining.done()
        disk.free()
    await draining
    assert disk.written == [0, 1, 2, 3, 4]


async def test_drained_waits_for_what_came_after_it(disk: Disk, commit: Batcher[int, str]) -> None:
    """An item posted while the last write is under way is waited for too."""
    commit.post(1)
    draining = asyncio.ensure_future(commit.drained())
    await begun(disk)
    commit.post(2)
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
    first = patient.post(1)
    await begun(disk)
    second = patient.post(2)
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
        batcher.post("late")

    batcher = Batcher(write, turns=3)
    batcher.post("early")
    await asyncio.gather(claim(), batcher.drained())
    assert seen == ["claim", "early", "late"]


async def test_callers_are_cancelled_with_their_event_loop() -> None:
    """When the writing task is cancelled, as at the end of a loop, nobody waits for ever."""
    never = asyncio.Event()

    async def stuck(items: Sequence[int]) -> Sequence[int]:
        await never.wait()
        return items

    batcher = Batcher(stuck, max_items=1)
    answers = [batcher.post(1), batcher.post(2)]
    await asyncio.sleep(0)
    (writer,) = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    writer.cancel()
    await asyncio.wait(answers)
    assert [answer.cancelled() for answer in answers] == [True, True]


class PoisonError(Exception):
    """What a server says to a batch with poison in it."""


class PoisonedDisk:
    """A place to write to that refuses a batch as a whole if one of its items is poison, and is away now and then."""

    def __init__(self, poison: set[int], away: set[int]) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.written: list[int] = []
        self._poison = poison
        self._away = away
        """The writes that fail, by their number."""

    async def write(self, items: Sequence[tuple[int, int]]) -> list[int]:
        """Take the items, each a number and a size, and answer with the numbers."""
        self.batches.append(list(items))
        await asyncio.sleep(0)
        numbers = [number for number, _ in items]
        if len(self.batches) in self._away:
            raise StoreUnavailable
        if self._poison & set(numbers):
            raise PoisonError
        self.written += numbers
        return numbers


@dataclass(frozen=True)
class Case:
    """Items of these sizes, and all that may go wrong: what is poison, whose caller gives up, which writes fail."""

    sizes: list[int]
    poison: set[int]
    cancelled: set[int]
    away: set[int]
    at_once: int
    """So many items are added in one turn of the loop."""
    patient: bool

    def run(self) -> tuple[PoisonedDisk, dict[int, list[object]]]:
        """Run the case; return the disk, and for each item what its caller was told, in the order of telling."""
        with asyncio.Runner() as runner:
            return runner.run(self._run())

    async def _run(self) -> tuple[PoisonedDisk, dict[int, list[object]]]:
        disk = PoisonedDisk(self.poison, self.away)
        batcher: Batcher[tuple[int, int], int] = Batcher(
            disk.write, max_items=MOST_ITEMS, max_bytes=MOST_BYTES, size_of=itemgetter(1), patient=self.patient
        )
        told: dict[int, list[object]] = {}
        answers = []
        for number, size in enumerate(self.sizes):
            answers.append(batcher.post((number, size)))
            answers[-1].add_done_callback(lambda done, number=number: told.setdefault(number, []).append(_told(done)))  # type: ignore[misc]
            if (number + 1) % self.at_once == 0:
                await asyncio.sleep(0)
        for number in self.cancelled & set(range(len(answers))):
            answers[number].cancel()
        await batcher.drained()
        await asyncio.wait(answers)
        await asyncio.sleep(0)
        assert batcher.backlog == 0
        return disk, told


def _told(answer: "asyncio.Future[int]") -> object:
    return "cancelled" if answer.cancelled() else answer.exception() or answer.result()


MOST_ITEMS, MOST_BYTES = 8, 200
numbers = st.sets(st.integers(0, 59), max_size=4)
cases = st.builds(
    Case,
    sizes=st.lists(st.sampled_from([0, 1, 10, 99, 100, 250]), min_size=1, max_size=60),
    poison=numbers,
    cancelled=numbers,
    away=numbers,
    at_once=st.integers(1, 60),
    patient=st.booleans(),
)


@given(cases)
def test_each_item_gets_its_own_outcome(case: Case) -> None:
    """Every caller is told once, in order: the answer to its item, or that this one item was refused.

    Nobody pays for another's poison or for a caller that gave up. Only where a batcher is not patient does an outage
    reach callers, and then as what it is.
    """
    _, told = case.run()
    heard = [number for number in told if told[number] != ["cancelled"]]
    assert heard == sorted(heard)
    for number in range(len(case.sizes)):
        (outcome,) = told[number]
        if outcome == "cancelled":
            assert number in case.cancelled
        elif isinstance(outcome, StoreUnavailable):
            assert case.away
            assert not case.patient
        elif number in case.poison:
            assert isinstance(outcome, PoisonError)
        else:
            assert outcome == number


@given(cases)
def test_items_are_written_in_order_and_within_the_bounds(case: Case) -> None:
    """What is written is written once and in order, in batches that are neither too long nor too large.

    All that is not poison is written, also for callers that gave up, unless an outage meets an impatient batcher.
    """
    disk, _ = case.run()
    assert disk.written == sorted(set(disk.written))
    if case.patient or not case.away:
        assert set(disk.written) == set(range(len(case.sizes))) - case.poison
    for batch in disk.batches:
        assert len(batch) <= MOST_ITEMS
        assert len(batch) == 1 or sum(size for _, size in batch) <= MOST_BYTES


@given(poison=st.integers(0, 199))
def test_one_poison_item_costs_few_writes(poison: int) -> None:
    """Among two hundred items one that is refused is found in as many writes as halving takes."""

    async def find() -> None:
        disk = PoisonedDisk({poison}, set())
        batcher = Batcher(disk.write)
        answers = [batcher.post((number, 0)) for number in range(200)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, PoisonError)] == [poison]
        assert len(disk.batches) <= 2 * 8 + 1

    with asyncio.Runner() as runner:
        runner.run(find())
