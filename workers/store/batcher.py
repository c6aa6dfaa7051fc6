"""Group commit: items added while a write is in progress share the next write.

There is no timer to wait for: the first item of an idle loop is written at once; the next batch is what has been added
in the meantime.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
Write = Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]]
Report = Callable[[AnswerT | BaseException], None]

MAX_BYTES = 1_000_000
"""A few milliseconds of server time; larger items are written alone."""


class Batcher(Generic[ItemT, AnswerT]):
    """Writes items in batches and in order, and reports each item's answer or error exactly once.

    A batch that fails with any error other than ``StoreUnavailable`` is written again in halves, so that in the end
    only the items that cannot be written get the error.

    Args:
        write: Writes a batch and returns an answer for each of its items.
        max_items: Maximum number of items in a batch.
        max_bytes: Maximum size of a batch, unless a single item is larger.
        size_of: Returns the size of an item in bytes; needed if items can be large.
        turns: Turns of the event loop before each write, so that more items join it and other commands reach Redis
            first.
        patient: While Redis is unavailable, keep the items and write them once it is back. Otherwise all items of the
            batch get the ``StoreUnavailable``. Either way they may have been written if the connection broke midway.
    """

    def __init__(
        self,
        write: Write[ItemT, AnswerT],
        *,
        max_items: int = 200,
        max_bytes: int = MAX_BYTES,
        size_of: Callable[[ItemT], int] | None = None,
        turns: int = 0,
        patient: bool = False,
    ) -> None:
        self._write = write
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._turns = turns
        self._patient = patient
        self._waiting: list[tuple[ItemT, Report[AnswerT]]] = []
        self._suspects: list[int] = []
        """Sizes of the parts of a failed batch at the head of the items, the first part last."""
        self._writer: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        """Number of items not written yet."""
        return len(self._waiting)

    def __call__(self, item: ItemT) -> "asyncio.Future[AnswerT]":
        """Queue ``item`` for the next write, together with any others, and return a future for its own answer.

        Cancelling the future does not affect the other items; its own item may still be written.
        """
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self.add(item, partial(_resolve, answer))
        return answer

    def add(self, item: ItemT, report: Report[AnswerT]) -> None:
        """Queue ``item`` for the next write; ``report`` is called with its answer or error and must not raise."""
        self._waiting.append((item, report))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def drained(self) -> None:
        """Wait until all items have been written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        backoff: Backoff | None = None
        try:
            while self._waiting:
                for _ in range(self._turns):
                    await asyncio.sleep(0)
                count = self._suspects.pop() if self._suspects else self._fitting()
                try:
                    self._report(await self._answers(count))
                    backoff = None
                except StoreUnavailable:
                    self._suspects.append(count)
                    backoff = backoff or Backoff()
                    await asyncio.sleep(backoff.next_s())
        except asyncio.CancelledError as error:
            self._report([error] * len(self._waiting))
            raise
        finally:
            self._suspects.clear()
            self._writer = None

    def _fitting(self) -> int:
        """Return the number of items in the next batch: at least one."""
        most = min(len(self._waiting), self._max_items)
        if most == 1 or self._size_of is None:
            return most
        size = 0
        for count in range(most):
            size += self._size_of(self._waiting[count][0])
            if size > self._max_bytes:
                return max(1, count)
        return most

    async def _answers(self, count: int) -> Sequence[AnswerT | BaseException]:
        """Write the first items, and return their answers; none, or StoreUnavailable, if they must be written again."""
        try:
            answers = await self._write([item for item, _ in self._waiting[:count]])
            if len(answers) != count:
                raise ValueError(f"{len(answers)} answers for {count} items")  # noqa: TRY301 - as any error
        except StoreUnavailable as error:
            if self._patient:
                raise
            return [error] * count
        except Exception as error:
            if count == 1:
                return [error]
            self._suspects += (count - count // 2, count // 2)
            return []
        return answers

    def _report(self, answers: Sequence[AnswerT | BaseException]) -> None:
        answered, self._waiting = self._waiting[: len(answers)], self._waiting[len(answers) :]
        for (_, report), answer in zip(answered, answers, strict=True):
            report(answer)


def _resolve(future: "asyncio.Future[AnswerT]", answer: AnswerT | BaseException) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(answer, asyncio.CancelledError):
        future.cancel()
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def distinct(read: Write[ItemT, AnswerT]) -> Write[ItemT, AnswerT]:
    """Return ``read`` such that equal items of a batch are read once and share the answer."""

    async def read_distinct(items: Sequence[ItemT]) -> Sequence[AnswerT]:
        different = list(dict.fromkeys(items))
        answers = dict(zip(different, await read(different), strict=True))
        return [answers[item] for item in items]

    return read_distinct
