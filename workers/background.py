"""Work in the background: tasks that must end, waiting for something that is away, and duties that must go on."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NoReturn

logger = logging.getLogger("arqway.workers.background")

_CANCEL_AGAIN_S = 0.1
_FIRST_S, _CAP_S = 0.05, 1.0
_FAILURES_MAX = 10
_RESTART_CAP_S = 5.0
_STEADY_S = 60.0
"""A duty that has run for so long is healthy again: earlier failures do not count."""

Duty = Callable[[], Awaitable[Any]]
"""Work that goes on until it is cancelled."""


async def end(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until they have ended: one that comes while redis-py connects may turn into a connection error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)


class Backoff:
    """Gives growing waits, so that many processes do not come back at the same instant."""

    def __init__(self, *, cap_s: float = _CAP_S) -> None:
        self._cap_s = cap_s
        self.waits = 0
        """How many waits there were since the last success."""
        self._random = Random().uniform  # noqa: S311 - jitter, not a secret
        self._longest_s = min(_FIRST_S, cap_s)

    @property
    def fresh(self) -> bool:
        """Whether nothing was waited for since the last success."""
        return self.waits == 0

    def next_s(self) -> float:
        """Return the next wait, between half and all of a bound that doubles up to the cap."""
        self.waits += 1
        longest, self._longest_s = self._longest_s, min(self._cap_s, self._longest_s * 2)
        return self._random(longest / 2, longest)

    def reset(self) -> None:
        """Begin with short waits again."""
        self.waits = 0
        self._longest_s = min(_FIRST_S, self._cap_s)


class DutyError(Exception):
    """A duty failed again and again; the process should end, so that its supervisor starts another."""


async def supervise(name: str, duty: Duty) -> NoReturn:
    """Keep ``duty`` going: whenever it ends, log why and start it again, after a growing pause.

    A duty should act first and pause afterwards, so that a restart finds out at once whether it can work again.

    Raises:
        DutyError: The duty ended ten times without having run for a minute in between.
    """
    backoff = Backoff(cap_s=_RESTART_CAP_S)
    while True:
        began_s = time.monotonic()
        error: BaseException = RuntimeError("the duty returned, though it should go on")
        try:
            await duty()
        except (Exception, asyncio.CancelledError) as caught:
            if _is_cancelled():
                raise
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
    """Keep duties going for the time of the block, each in the task that is given for it.

    One of the tasks ends only if its duty keeps failing, with DutyError.
    """
    tasks = [asyncio.create_task(supervise(name, duty)) for name, duty in duties.items()]
    try:
        yield tasks
    finally:
        await end(tasks)


def _is_cancelled() -> bool:
    """Tell whether somebody cancelled this task; a ``CancelledError`` alone may be anybody's."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
