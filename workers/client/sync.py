"""``SyncJobQueue``: the client for code without an event loop, such as Flask, Django and scripts.

Nothing is written twice: the asynchronous client runs on an event loop in a background thread, and each call waits.
"""

import asyncio
import atexit
import os
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from functools import wraps
from threading import RLock, Thread, current_thread
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, overload

from typing_extensions import Unpack

from arqway.workers.background import end
from arqway.workers.client.after_commit import PendingJob, SqlSession, sync_session
from arqway.workers.client.queue import JobQueue, open_queue
from arqway.workers.client.submission import SubmitOptions
from arqway.workers.contract.record import JobRecord
from arqway.workers.definition import JobDefinition, PayloadT
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings, read_settings

P = ParamSpec("P")
T = TypeVar("T")

_CLOSED = "This SyncJobQueue is closed."


class _Background:
    """A thread whose event loop runs one asynchronous client. It holds no reference to its ``SyncJobQueue``."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._calls: set[asyncio.Task[Any]] = set()
        opened: Future[JobQueue] = Future()
        # A daemon thread, so that a program which forgets `close` still exits.
        self._thread = Thread(
            target=lambda: asyncio.run(self._serve(settings, registry, opened)), name="arqway-client", daemon=True
        )
        self._thread.start()
        self._queue = opened.result()

    async def _serve(self, settings: Settings, registry: Registry, opened: "Future[JobQueue]") -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with open_queue(settings, registry) as queue:
                opened.set_result(queue)
                await self._stop.wait()
                await end(self._calls)
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)  # raised in the caller, not in this thread

    def start(self, call: Callable[[JobQueue], Awaitable[T]]) -> "Future[T]":
        if current_thread() is self._thread:
            raise RuntimeError("A SyncJobQueue cannot be used by what it calls, such as a payload's validator.")
        return asyncio.run_coroutine_threadsafe(self._run(call), self._loop)

    async def _run(self, call: Callable[[JobQueue], Awaitable[T]]) -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._calls.add(task)
        try:
            return await call(self._queue)
        finally:
            self._calls.discard(task)

    def stop(self) -> None:
        """Cancel the calls in progress, and close the client soon. Calls made earlier are seen, later ones are not."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        if current_thread() is not self._thread:
            self._thread.join()


def _blocking(
    method: Callable[Concatenate[JobQueue, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["SyncJobQueue", P], T]:
    """Return ``method`` of ``JobQueue`` as a method of ``SyncJobQueue`` that blocks until it is done."""

    @wraps(method)
    def call(self: "SyncJobQueue", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(lambda queue: method(queue, *args, **kwargs))

    return call


class SyncJobQueue:
    """Does what ``JobQueue`` does, but blocks. Safe to share between threads.

    Nothing is opened before the first call. A forked process opens connections of its own, so a client made before
    gunicorn forks its workers can be used in each of them. Every method raises what that of ``JobQueue`` raises, and
    RuntimeError once the client is closed.

    It works while an event loop is running, as in a notebook, but blocks that loop: use ``JobQueue`` in ``async def``.

    Args:
        registry: The kinds that may be submitted.
        settings: Where Redis is, and retention times; read from the environment by default.

    Raises:
        ConfigurationError: An environment variable has an invalid value.
    """

    def __init__(self, registry: Registry, *, settings: Settings | None = None) -> None:
        self._registry = registry
        self._settings = settings or read_settings(Settings)
        self._closed = False
        self._start_afresh()
        _instances.add(self)

    def _start_afresh(self) -> None:
        self._lock = RLock()
        self._background: _Background | None = None
        self._finalizer: weakref.finalize[[], SyncJobQueue] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def submit(
        self, job: JobDefinition[PayloadT, Any], payload: PayloadT, **options: Unpack[SubmitOptions]
    ) -> JobRecord: ...

    @overload
    def submit(
        self,
        job: JobDefinition[PayloadT, Any],
        payload: PayloadT,
        *,
        after_commit: SqlSession,
        **options: Unpack[SubmitOptions],
    ) -> PendingJob: ...

    def submit(
        self,
        job: JobDefinition[PayloadT, Any],
        payload: PayloadT,
        *,
        after_commit: SqlSession | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobRecord | PendingJob:
        """Accept a job; see ``JobQueue.submit``."""
        if after_commit is None:
            return self.run(lambda queue: queue.submit(job, payload, **options))
        session = sync_session(after_commit)  # here, since a scoped session belongs to this thread
        return self.run(lambda queue: queue.submit(job, payload, after_commit=session, **options))

    submit_many = _blocking(JobQueue.submit_many)
    submit_json = _blocking(JobQueue.submit_json)
    flush = _blocking(JobQueue.flush)
    read = _blocking(JobQueue.read)
    read_many = _blocking(JobQueue.read_many)
    wait = _blocking(JobQueue.wait)
    cancel = _blocking(JobQueue.cancel)
    retry = _blocking(JobQueue.retry)
    ping = _blocking(JobQueue.ping)

    def run(self, call: Callable[[JobQueue], Awaitable[T]]) -> T:
        """Run any call on the asynchronous client: ``jobs.run(lambda queue: Queues(queue).all())``.

        Ctrl-C cancels it.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(_CLOSED)
            if self._background is None:
                self._background = _Background(self._settings, self._registry)
                self._finalizer = weakref.finalize(self, self._background.stop)
                self._finalizer.atexit = False  # at exit, `_close_all` closes it and waits
            future = self._background.start(call)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the connections; calls in progress in other threads are cancelled.

        Jobs whose transactions have committed get 5 s to be accepted. Safe to repeat.
        """
        with self._lock:
            self._closed = True
            background, self._background = self._background, None
            if background is not None and self._finalizer is not None:
                self._finalizer.detach()  # calling it does nothing while the interpreter exits
                background.stop()
        if background is not None:
            background.join()

    def _forget(self) -> None:
        """Leave the parent process its connections."""
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._background is not None:
            _parent_backgrounds.append(self._background)
        self._start_afresh()


_instances: weakref.WeakSet[SyncJobQueue] = weakref.WeakSet()
_parent_backgrounds: list[_Background] = []
"""Kept alive so that nothing of theirs is closed: their sockets are also the parent process's."""


@atexit.register
def _close_all() -> None:
    for queue in list(_instances):
        queue.close()


def _forget_all() -> None:
    for queue in list(_instances):
        queue._forget()


os.register_at_fork(after_in_child=_forget_all)
