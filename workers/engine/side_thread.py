"""The side thread: duties that must continue while a job blocks the worker's event loop.

It has an event loop and a connection pool of its own. Why it exists: docs/decisions/0025.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import NoReturn, Self

from arq.connections import ArqRedis

from arqway.workers.background import Duty, DutyError, end, supervised
from arqway.workers.store.connection import clone

logger = logging.getLogger("arqway.workers.engine")

OpenDuties = Callable[[ArqRedis], AbstractAsyncContextManager[Mapping[str, Duty]]]


class SideThread:
    """Runs supervised duties for the time of the ``async with`` block.

    Args:
        redis: Its server and options are used, its connections are not.
        open_duties: Entered in the thread with a client of its own; yields the duties by name.
    """

    def __init__(self, redis: ArqRedis, open_duties: OpenDuties) -> None:
        self._redis = redis
        self._open_duties = open_duties
        self._thread = threading.Thread(target=self._run, name="arqway-side", daemon=True)

    async def __aenter__(self) -> Self:
        self._worker_loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[BaseException | None] = self._worker_loop.create_future()
        begun = self._begun = self._worker_loop.create_future()
        self._thread.start()
        await asyncio.wait([begun, self._ended], return_when=asyncio.FIRST_COMPLETED)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._ended.done():
            with suppress(RuntimeError):  # its loop has closed already
                self._loop.call_soon_threadsafe(self._stopped.set)
            await asyncio.wait([self._ended])
        self._thread.join()

    async def watch(self) -> NoReturn:
        """Wait for the thread to end by itself. Raises DutyError: one of its duties keeps failing."""
        error = await asyncio.shield(self._ended)
        raise error if isinstance(error, DutyError) else DutyError("the side thread has ended") from error

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._work())
        except BaseException as caught:
            error = caught
            if not isinstance(error, DutyError):
                logger.critical("The side thread of this worker failed", exc_info=error)
        self._tell(self._ended, error)

    async def _work(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        redis = clone(self._redis)
        try:
            async with self._open_duties(redis) as duties, supervised(duties) as tasks:
                self._tell(self._begun, None)
                stopped = asyncio.create_task(self._stopped.wait())
                done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
                await end([stopped])
                for task in done:
                    task.result()
        finally:
            await redis.aclose(close_connection_pool=True)

    def _tell(self, future: "asyncio.Future[BaseException | None]", answer: BaseException | None) -> None:
        with suppress(RuntimeError):  # the worker's loop has closed meanwhile
            self._worker_loop.call_soon_threadsafe(future.set_result, answer)
