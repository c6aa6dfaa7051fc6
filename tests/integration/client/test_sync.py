"""``SyncJobQueue``: what it does, from threads, in a WSGI server, while Redis is away, and within other calls."""

import asyncio
import inspect
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import TypeVar
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
import pytest
from pydantic import BaseModel, ValidationInfo, field_validator
from werkzeug.serving import make_server

from arqway import JobContext, JobNotFound, JobQueue, JobState, Registry, StoreUnavailable, SyncJobQueue, job
from arqway.workers.client import Batches, BatchItem, Queues
from arqway.workers.contract.errors import (
    DuplicateJob,
    InvalidPayload,
    JobFinished,
    UnknownKind,
    WaitTimeout,
)
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.held_jobs import background_threads
from tests.support.jobs import Number, double
from tests.support.redis_server import Valkey

T = TypeVar("T")

JOBS = Registry([double])
AT_ONCE = 50


@pytest.fixture
def jobs(settings: Settings) -> Iterator[SyncJobQueue]:
    """A client without an event loop."""
    with SyncJobQueue(JOBS, settings=settings) as queue:
        yield queue


async def test_it_does_what_the_asynchronous_client_does(settings: Settings, run_worker: RunWorker) -> None:
    """Submits, waits, reads, cancels and retries, with the same records and the same errors."""

    def script() -> None:
        with SyncJobQueue(JOBS, settings=settings) as jobs:
            jobs.ping()
            done = jobs.wait(jobs.submit(double, Number(value=21), tags=["a"]).id, timeout_s=10)
            assert (done.state, done.result, done.tags) == (JobState.SUCCEEDED, 42, ("a",))
            assert jobs.read(done.id) == done
            ids = jobs.submit_many(double, [Number(value=n) for n in range(3)])
            assert [jobs.wait(job_id, timeout_s=10).result for job_id in ids] == [0, 2, 4]
            assert [record.id for record in jobs.read_many([*ids, "nobody"])] == ids
            named = jobs.submit_json("test.double", b'{"value": 4}').record
            assert jobs.wait(named.id, timeout_s=10).result == 8
            later = jobs.submit(double, Number(value=1), delay=timedelta(hours=1))
            assert jobs.cancel(later.id).state is JobState.CANCELLED
            assert jobs.wait(jobs.retry(later.id).id, timeout_s=10).result == 2
            assert jobs.flush()
            batch = jobs.run(lambda queue: Batches(queue).submit([BatchItem("test.double", b'{"value": 1}', {})]))
            assert batch.accepted == 1
            assert "default" in [status.figures.name for status in jobs.run(lambda queue: Queues(queue).all())]
            _refusals(jobs, done.id)

    async with run_worker(JOBS):
        await asyncio.to_thread(script)


def _refusals(jobs: SyncJobQueue, done_id: str) -> None:
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (JobNotFound, lambda: jobs.read("nobody")),
        (JobFinished, lambda: jobs.cancel(done_id)),
        (DuplicateJob, lambda: jobs.submit(double, Number(value=1), job_id=done_id)),
        (InvalidPayload, lambda: jobs.submit_json("test.double", b"{}")),
        (UnknownKind, lambda: jobs.submit_json("test.none", b"{}")),
        (
            WaitTimeout,
            lambda: jobs.wait(jobs.submit(double, Number(value=1), delay=timedelta(hours=1)).id, timeout_s=0),
        ),
    ]
    for error, call in refused:
        with pytest.raises(error):
            call()


def test_it_has_every_method_of_the_asynchronous_client() -> None:
    """With the same parameters; what is for our own service only is reached by ``run``."""
    of_the_service = {"prepare", "submit_batch", "keep_answer", "changed"}
    for name, method in vars(JobQueue).items():
        if not name.startswith("_") and name not in of_the_service:
            assert inspect.signature(getattr(SyncJobQueue, name)) == inspect.signature(method), name
            assert inspect.getdoc(getattr(SyncJobQueue, name)), name


def test_many_threads_at_once(jobs: SyncJobQueue) -> None:
    """Each gets its own answers, and all of them share one background thread; also where they all open it."""
    ready = threading.Barrier(AT_ONCE)

    def submit(n: int) -> list[int]:
        ready.wait()
        ids = [jobs.submit(double, Number(value=1), tags=[f"t{n}-{i}"]).id for i in range(10)]
        return [int(jobs.read(job_id).tags == (f"t{n}-{i}",)) for i, job_id in enumerate(ids)]

    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(submit, range(AT_ONCE)))
        assert len(background_threads()) == 1
    assert found == [[1] * 10] * AT_ONCE


@contextmanager
def wsgi_server(app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]) -> Iterator[str]:
    """Serve a WSGI app with a thread for each request, as Flask's own server does."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_in_a_wsgi_app(jobs: SyncJobQueue, run_worker: RunWorker) -> None:
    """Requests that come at the same time submit and wait, each in a thread of the server."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        accepted = jobs.submit(double, Number(value=int(environ["QUERY_STRING"])))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [str(jobs.wait(accepted.id, timeout_s=20).result).encode()]

    with wsgi_server(app) as url:
        async with run_worker(JOBS), httpx.AsyncClient(timeout=30) as http:
            answers = await asyncio.gather(*(http.get(f"{url}/?{n}") for n in range(30)))
    assert [answer.json() for answer in answers] == [2 * n for n in range(30)]


def eventually(call: Callable[[], T]) -> T:
    """Return what the call returns once Redis is back: the first call on each old connection finds it broken."""
    until_s = time.monotonic() + 10
    while True:
        try:
            return call()
        except StoreUnavailable:
            assert time.monotonic() < until_s, "Redis is back"


def test_redis_away_and_back(own_server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls raise StoreUnavailable while it is away, whatever was opened before, and work when it is back.

    The settings are those of the environment.
    """
    monkeypatch.setenv("REDIS_URL", own_server.url)
    own_server.stop()
    with SyncJobQueue(JOBS) as jobs:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                jobs.ping()
            with pytest.raises(StoreUnavailable):
                jobs.submit(double, Number(value=1))
            own_server.start()
            job_id = eventually(lambda: jobs.submit(double, Number(value=1))).id
            assert eventually(partial(jobs.read, job_id)).state is JobState.QUEUED
            own_server.stop()


def test_an_error_says_where_it_comes_from(jobs: SyncJobQueue) -> None:
    """Its traceback leads from the caller's line to the one that raised it."""
    with pytest.raises(JobNotFound) as caught:
        jobs.read("nobody")
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[0] == "test_an_error_says_where_it_comes_from"
    assert frames[-1] == "read"
    assert caught.value.__cause__ is None


async def test_inside_a_running_event_loop(jobs: SyncJobQueue) -> None:
    """It works, on its own loop, as in a notebook."""
    assert jobs.read(jobs.submit(double, Number(value=1)).id).state is JobState.QUEUED


_whose: ContextVar[str] = ContextVar("whose", default="nobody")


class Reentrant(BaseModel):
    """A payload whose validator does as it is told."""

    value: int

    @field_validator("value")
    @classmethod
    def _call(cls, value: int, info: ValidationInfo) -> int:
        for call in _calls:
            call()
        return value


_calls: list[Callable[[], object]] = []


@job("test.reentrant")
async def reentrant(ctx: JobContext, payload: Reentrant) -> None:
    """Do nothing."""


def test_a_call_within_a_call_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for itself. The caller's context variables are seen within."""
    seen: list[object] = []

    def again() -> None:
        seen.append(_whose.get())
        try:
            ours.ping()
        except RuntimeError as error:
            seen.append(str(error))

    monkeypatch.setattr(f"{__name__}._calls", [again])
    with SyncJobQueue(Registry([reentrant]), settings=settings) as ours:
        _whose.set("ours")
        ours.submit_json("test.reentrant", b'{"value": 1}')
    assert seen[0] == "ours"
    assert "cannot be used by what it calls" in str(seen[1])
