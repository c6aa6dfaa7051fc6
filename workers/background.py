"""Background work: ending tasks reliably, backing off from unavailable services, and supervising duties."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import uniform
from typing import Any, NoReturn

logger = logging.getLogger("arqway.workers.background")

_CANCEL_AGAIN_S = 0.1
_FIRST_S, _CAP_S = 0.05, 1.0
_FAILURES_MAX = 10
_RESTART_CAP_S = 5.0
_STEADY_S = 60.0
"""A duty that has run this long counts as healthy again; its earlier failures are forgotten."""

Duty = Callable[[], Awaitable[Any]]
"""Work that continues until it is cancelled."""


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until all have ended: redis-py may turn a cancellation while it connects into a connection error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


class Backoff:
    """Exponential backoff with jitter, so that many processes do not retry at the same instant."""

    def __init__(self, *, cap_s: float = _CAP_S) -> None:
        self._cap_s = cap_s
        self.reset()

    def reset(self) -> None:
        """Start over with short waits."""
        self.waits = 0
        """Number of waits since the last success."""
        self._longest_s = min(_FIRST_S, self._cap_s)

    @property
    def fresh(self) -> bool:
        """Whether there has been no wait since the last success."""
        return self.waits == 0

    def next_s(self) -> float:
        """Return the next wait in seconds: between half and all of a bound that doubles up to the cap."""
        self.waits += 1
        longest, self._longest_s = self._longest_s, min(self._cap_s, self._longest_s * 2)
        return uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret


class DutyError(Exception):
    """A duty failed repeatedly. The process should exit so that its supervisor can start another."""


async def supervise(name: str, duty: Duty) -> NoReturn:
    """Keep ``duty`` running: whenever it ends, log the reason and restart it after an increasing pause.

    A duty should act first and pause afterwards, so that a restart shows at once whether it can work again.

    Raises:
        DutyError: The duty ended ten times without running for a minute in between.
    """
    backoff = Backoff(cap_s=_RESTART_CAP_S)
    while True:
        began_s = time.monotonic()
        error: BaseException = RuntimeError("the duty returned, although it should run until it is cancelled")
        try:
            await duty()
        except (Exception, asyncio.CancelledError) as caught:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # this task was cancelled, not something that the duty awaited
            error = caught
        if time.monotonic() - began_s >= _STEADY_S:
            backoff.reset()
        pause_s = backoff.next_s()
        if backoff.waits >= _FAILURES_MAX:
            logger.critical("A duty of this process keeps failing", exc_info=error, extra={"duty": name})
            raise DutyError(f"{name} keeps failing: {error!r}") from error
        logger.error("A duty of this process failed; it is started again", exc_info=error, extra={"duty": name})
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def supervised(duties: Mapping[str, Duty]) -> "AsyncIterator[list[asyncio.Task[NoReturn]]]":
    """Keep duties running for the duration of the block; yields one task per duty.

    A task ends only if its duty keeps failing, with DutyError.
    """
    tasks = [asyncio.create_task(supervise(name, duty)) for name, duty in duties.items()]
    try:
        yield tasks
    finally:
        await end(tasks)
