"""Group commit: calls that come while a write is under way share the next write.

Nobody waits for a timer: the first call of an idle loop is written at once, and a batch is what gathered meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


class GroupCommit(Generic[ItemT, AnswerT]):
    """Turns ``write(items) -> answers`` into one awaitable call per item.

    If ``write`` raises, every call of its batch raises that error. A caller that stops waiting may still be written.
    """

    def __init__(
        self, write: Callable[[Sequence[ItemT]], Awaitable[Sequence[AnswerT]]], *, max_batch: int = 200
    ) -> None:
        self._write = write
        self._max_batch = max_batch
        self._waiting: list[tuple[ItemT, asyncio.Future[AnswerT]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, item: ItemT) -> AnswerT:
        """Write ``item`` with whatever else is waiting, and return its own answer."""
        return await self.post(item)

    def post(self, item: ItemT) -> "asyncio.Future[AnswerT]":
        """Queue ``item`` for the next write."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[AnswerT] = loop.create_future()
        self._waiting.append((item, answer))
        if self._writer is None:
            self._writer = loop.create_task(self._write_all())
        return answer

    async def drained(self) -> None:
        """Return when nothing is waiting or under way."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_batch], self._waiting[self._max_batch :]
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: "list[tuple[ItemT, asyncio.Future[AnswerT]]]") -> None:
        try:
            answered = list(zip(batch, await self._write([item for item, _ in batch]), strict=True))
        except Exception as error:
            for waiter in _still_waiting(batch):
                waiter.set_exception(error)
        except asyncio.CancelledError:
            for waiter in _still_waiting([*batch, *self._waiting]):
                waiter.cancel()
            raise
        else:
            for (_, waiter), answer in answered:
                if not waiter.done():
                    waiter.set_result(answer)


def _still_waiting(calls: "list[tuple[ItemT, asyncio.Future[AnswerT]]]") -> "list[asyncio.Future[AnswerT]]":
    return [waiter for _, waiter in calls if not waiter.done()]
