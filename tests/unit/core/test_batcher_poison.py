"""Whatever goes wrong with some items of a batch, each item gets its own outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.store.batcher import Batcher


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
            answers.append(batcher((number, size)))
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
        answers = [batcher((number, 0)) for number in range(200)]
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
        assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, PoisonError)] == [poison]
        assert len(disk.batches) <= 2 * 8 + 1

    with asyncio.Runner() as runner:
        runner.run(find())
