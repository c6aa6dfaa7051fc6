"""Group commit: items added while a write is in progress share the next write.

There is no timer to wait for: the first item of an idle loop is written at once; the next batch is what has been added
in the meantime.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
Tell = Callable[[AnswerT | BaseException], None]

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
        write: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]],
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
        self._waiting: list[tuple[ItemT, Tell[AnswerT]]] = []
        self._suspects: list[int] = []
        """Sizes of the parts of a failed batch at the head of the items, the first part last."""
        self._writer: asyncio.Task[None] | None = None

    @property
    def backlog(self) -> int:
        """Number of items not written yet."""
        return len(self._waiting)

    async def __call__(self, item: ItemT) -> AnswerT:
        """Write ``item`` together with any others that are waiting, and return its own answer.

        Cancelling the caller does not affect the other items; its own item may still be written.
        """
        return await self.post(item)

    def post(self, item: ItemT) -> "asyncio.Future[AnswerT]":
        """Queue ``item`` for the next write and return a future for its answer."""
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self.add(item, partial(_resolve, answer))
        return answer

    def add(self, item: ItemT, tell: Tell[AnswerT]) -> None:
        """Queue ``item`` for the next write; ``tell`` is called with its answer or error and must not raise."""
        self._waiting.append((item, tell))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def drained(self) -> None:
        """Wait until all items have been written."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        backoff = Backoff()
        try:
            while self._waiting:
                for _ in range(self._turns):
                    await asyncio.sleep(0)
                count = self._suspects.pop() if self._suspects else self._fitting()
                try:
                    await self._write_first(count)
                    backoff.reset()
                except StoreUnavailable:
                    self._suspects.append(count)
                    await asyncio.sleep(backoff.next_s())
        except asyncio.CancelledError as error:
            self._tell([error] * len(self._waiting))
            raise
        finally:
            self._suspects.clear()
            self._writer = None

    def _fitting(self) -> int:
        """Return the number of items in the next batch: at least one."""
        most = min(len(self._waiting), self._max_items)
        if self._size_of is None:
            return most
        size = 0
        for count in range(most):
            size += self._size_of(self._waiting[count][0])
            if size > self._max_bytes:
                return max(1, count)
        return most

    async def _write_first(self, count: int) -> None:
        """Write the first items and report their answers. Raises StoreUnavailable if they must be written again."""
        try:
            answers = await self._write([item for item, _ in self._waiting[:count]])
            if len(answers) != count:
                raise ValueError(f"{len(answers)} answers for {count} items")  # noqa: TRY301 - as any error
        except StoreUnavailable as error:
            if self._patient:
                raise
            self._tell([error] * count)
        except Exception as error:
            if count == 1:
                self._tell([error])
            else:
                self._suspects += (count - count // 2, count // 2)
        else:
            self._tell(answers)

    def _tell(self, answers: Sequence[AnswerT | BaseException]) -> None:
        answered, self._waiting = self._waiting[: len(answers)], self._waiting[len(answers) :]
        for (_, tell), answer in zip(answered, answers, strict=True):
            tell(answer)


def _resolve(future: "asyncio.Future[Any]", answer: Any) -> None:
    if future.done():  # its caller was cancelled
        return
    if isinstance(answer, asyncio.CancelledError):
        future.cancel()
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
