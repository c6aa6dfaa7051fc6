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
from types import TracebackType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar, overload

from typing_extensions import Unpack

from arqway.workers.background import end
from arqway.workers.client.after_commit import PendingJob, SqlSession, sync_session
from arqway.workers.client.opening import open_queue
from arqway.workers.client.queue import JobQueue
from arqway.workers.client.submission import SubmitOptions
from arqway.workers.contract.record import JobRecord
from arqway.workers.definition import JobDefinition, PayloadT, ResultT
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings, read_settings

P = ParamSpec("P")
T = TypeVar("T")

_CLOSED = "This SyncJobQueue is closed."


class _Running(NamedTuple):
    """What lives on the background thread's event loop."""

    queue: JobQueue
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    calls: set[asyncio.Task[Any]]


class _Background:
    """A thread whose event loop runs one asynchronous client. It holds no reference to its ``SyncJobQueue``."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        opened: Future[_Running] = Future()
        # A daemon thread, so that a program which forgets `close` still exits.
        self._thread = Thread(
            target=lambda: asyncio.run(_serve(settings, registry, opened)), name="arqway-client", daemon=True
        )
        self._thread.start()
        self._opened = opened.result()

    def start(self, call: Callable[[JobQueue], Awaitable[T]]) -> "Future[T]":
        if current_thread() is self._thread:
            raise RuntimeError("A SyncJobQueue cannot be used by what it calls, such as a payload's validator.")
        return asyncio.run_coroutine_threadsafe(_tracked(call, self._opened), self._opened.loop)

    def stop(self) -> None:
        """Cancel the calls in progress, and close the client soon. Calls made earlier are seen, later ones are not."""
        self._opened.loop.call_soon_threadsafe(self._opened.stop.set)

    def join(self) -> None:
        if current_thread() is not self._thread:
            self._thread.join()


async def _serve(settings: Settings, registry: Registry, opened: "Future[_Running]") -> None:
    try:
        async with open_queue(settings, registry) as queue:
            this = _Running(queue, asyncio.get_running_loop(), asyncio.Event(), set())
            opened.set_result(this)
            await this.stop.wait()
            await end(this.calls)
    except BaseException as error:
        if opened.done():
            raise
        opened.set_exception(error)  # raised in the caller, not in this thread


async def _tracked(call: Callable[[JobQueue], Awaitable[T]], opened: _Running) -> T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    opened.calls.add(task)
    try:
        return await call(opened.queue)
    finally:
        opened.calls.discard(task)


def _waiting(
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def submit(
        self, job: JobDefinition[PayloadT, ResultT], payload: PayloadT, **options: Unpack[SubmitOptions]
    ) -> JobRecord: ...

    @overload
    def submit(
        self,
        job: JobDefinition[PayloadT, ResultT],
        payload: PayloadT,
        *,
        after_commit: SqlSession,
        **options: Unpack[SubmitOptions],
    ) -> PendingJob: ...

    def submit(
        self,
        job: JobDefinition[PayloadT, ResultT],
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

    submit_many = _waiting(JobQueue.submit_many)
    submit_json = _waiting(JobQueue.submit_json)
    flush = _waiting(JobQueue.flush)
    read = _waiting(JobQueue.read)
    read_many = _waiting(JobQueue.read_many)
    wait = _waiting(JobQueue.wait)
    cancel = _waiting(JobQueue.cancel)
    retry = _waiting(JobQueue.retry)
    ping = _waiting(JobQueue.ping)

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
