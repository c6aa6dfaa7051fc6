"""``ArqwayClient``: submit jobs over HTTP, wait for them, follow and cancel them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, overload
from urllib.parse import quote

import httpx
from pydantic_core import to_json
from typing_extensions import Unpack

from arqway.service.client import jobs
from arqway.service.client.batches import HttpBatches
from arqway.service.client.listing import ListOptions, pages, written
from arqway.service.client.operations import Operations
from arqway.service.client.polling import versions
from arqway.service.client.streaming import frames
from arqway.service.client.submission import UNSET, HttpSubmitOptions, NewJob, key_header, payload_json
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import (
    Event,
    Job,
    JobHandle,
    ResultT,
    SubmittedBatch,
    handle_of,
    read_event,
    read_job,
)
from arqway.service.shapes.batches import BatchView
from arqway.workers.contract.errors import JobFailed
from arqway.workers.definition import JobDefinition, PayloadT


class ArqwayClient:
    """A client of one service; use as an async context manager. Safe to share between tasks of one event loop.

    Jobs are named by what ``submit`` and the other methods return, or by their ids. Calls are tried again where that
    is safe and may help, after what ``Retry-After`` says. What goes wrong in the end is an ``ApiError``.

    Args:
        base_url: Where the service is, e.g. ``http://127.0.0.1:8000``.
        api_key: Needed where the service has ``ARQWAY_AUTH=keys``. Never logged.
        timeout_s: How long a call may take, all its tries together, beyond what it was asked to wait.
        retries: Tries after the first.
        connect: Makes the connections, e.g. ``httpx.AsyncHTTPTransport`` with certificates of yours, or
            ``httpx.ASGITransport`` in tests. The environment's proxies and certificates are not used.

    Raises:
        ConfigurationError: The URL or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
        connect: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = Transport(base_url, api_key=api_key, timeout_s=timeout_s, retries=retries, connect=connect)
        self.batches = HttpBatches(self._transport)
        self.operations = Operations(self._transport)

    def __repr__(self) -> str:
        return f"ArqwayClient({self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Where the service is."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @overload
    async def submit(
        self, job: JobDefinition[PayloadT, ResultT], payload: PayloadT, **options: Unpack[HttpSubmitOptions]
    ) -> Job[ResultT]: ...
    @overload
    async def submit(self, job: str, payload: Any, **options: Unpack[HttpSubmitOptions]) -> Job[Any]: ...
    async def submit(
        self, job: JobDefinition[Any, Any] | str, payload: Any, **options: Unpack[HttpSubmitOptions]
    ) -> Job[Any]:
        """Submit a job. Once this returns, the job is not lost: it will end.

        Args:
            job: Its definition, for a typed payload and result; or its kind.
            payload: What it is given.
            options: ``HttpSubmitOptions``. With ``wait_s`` the job is returned at its end, if that comes in time.

        Raises:
            Invalid: The payload or an option does not fit.
            NotFound: The service has no such kind.
            Conflict: An unfinished job, ``job_id``, has the ``unique_key``.
            Unavailable, TooManyRequests: It was not accepted, as far as is known; with the same ``idempotency_key`` the
                call may be made again all the same.
            ApiError: Something else went wrong.
        """
        wait_s, key = options.pop("wait_s", None), options.pop("idempotency_key", None)
        item = NewJob(job, payload, options)
        body = payload_json(item.definition, payload)
        path, headers = f"/jobs/{quote(item.kind, safe='')}", key_header(key)
        answer = await self._transport.send(Request("POST", path, item.query(), body, headers))
        accepted = jobs.job_in(answer, item.handle(""))
        return await jobs.ended_within(self._transport, accepted, wait_s) if wait_s else accepted

    async def submit_many(
        self, items: Sequence[NewJob], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> SubmittedBatch:
        """Submit up to 1,000 jobs at once: ``HttpBatches.submit``. ``batches`` has what else there is of batches."""
        return await self.batches.submit(items, atomic=atomic, idempotency_key=idempotency_key)

    @overload
    async def get(self, job: JobHandle[ResultT]) -> Job[ResultT]: ...
    @overload
    async def get(self, job: str) -> Job[Any]: ...
    async def get(self, job: JobHandle[Any] | str) -> Job[Any]:
        """Return the job as it is. Raises NotFound."""
        return await jobs.read(self._transport, handle_of(job))

    @overload
    async def wait(self, job: JobHandle[ResultT], *, timeout_s: float | None = None) -> Job[ResultT]: ...
    @overload
    async def wait(self, job: str, *, timeout_s: float | None = None) -> Job[Any]: ...
    async def wait(self, job: JobHandle[Any] | str, *, timeout_s: float | None = None) -> Job[Any]:
        """Return the job once it has ended, in whatever way.

        Args:
            job: The job.
            timeout_s: How long to wait; a service that is away meanwhile is borne. None: as long as it takes.

        Raises:
            WaitTimeout: It has not ended in time.
            NotFound: There is no such job.
        """
        return await jobs.wait(self._transport, handle_of(job), timeout_s)

    @overload
    async def result(self, job: JobHandle[ResultT], *, timeout_s: float | None = None) -> ResultT: ...
    @overload
    async def result(self, job: str, *, timeout_s: float | None = None) -> Any: ...
    async def result(self, job: JobHandle[Any] | str, *, timeout_s: float | None = None) -> Any:
        """Wait for the job's end and return its result. Raises JobFailed where there is none, else as ``wait``."""
        ended = await self.wait(handle_of(job), timeout_s=timeout_s)
        if not ended.succeeded:
            raise _failed(ended)
        return ended.result

    @overload
    def stream(self, job: JobHandle[ResultT], *, after: str | None = None) -> AsyncGenerator[Event[ResultT], None]: ...
    @overload
    def stream(self, job: str, *, after: str | None = None) -> AsyncGenerator[Event[Any], None]: ...
    async def stream(self, job: JobHandle[Any] | str, *, after: str | None = None) -> AsyncGenerator[Event[Any], None]:
        """Give the job's events from its submission on, up to the one that ends it, which has the whole ``job``.

        A broken stream is taken up again where it broke.

        Args:
            job: The job.
            after: The id of the event to go on behind.

        Raises:
            NotFound: There is no such job.
            Unavailable: The service has too many streams open, or is away for too long; ``changes`` may still work.
        """
        handle = handle_of(job)
        async with aclosing(frames(self._transport, f"{jobs.path_of(handle)}/events", after=after)) as told:
            async for frame in told:
                event = read_event(frame.name, frame.id, frame.data, handle)
                yield event
                if event.job is not None:
                    return

    async def stream_all(
        self, *, events: Sequence[str] = (), after: str | None = None
    ) -> AsyncGenerator[Event[Any], None]:
        """Give the events of all jobs of the caller, from now on, without an end.

        Args:
            events: Only those with these names.
            after: The id of the event to go on behind.
        """
        query = [("event", name) for name in events]
        async with aclosing(frames(self._transport, "/events", query=query, after=after)) as told:
            async for frame in told:
                yield read_event(frame.name, frame.id, frame.data, JobHandle(""))

    @overload
    def changes(self, job: JobHandle[ResultT]) -> AsyncGenerator[Job[ResultT], None]: ...
    @overload
    def changes(self, job: str) -> AsyncGenerator[Job[Any], None]: ...
    async def changes(self, job: JobHandle[Any] | str) -> AsyncGenerator[Job[Any], None]:
        """Give the job as it is and each time it has changed, up to its end: for where streams do not get through.

        Changes that come in quick succession may be given as one.
        """
        handle = handle_of(job)
        async with aclosing(versions(self._transport, jobs.path_of(handle))) as answers:
            async for answer in answers:
                seen = jobs.job_in(answer, handle)
                yield seen
                if seen.finished:
                    return

    @overload
    async def cancel(self, job: JobHandle[ResultT], *, if_unchanged: bool = False) -> Job[ResultT]: ...
    @overload
    async def cancel(self, job: str) -> Job[Any]: ...
    async def cancel(self, job: JobHandle[Any] | str, *, if_unchanged: bool = False) -> Job[Any]:
        """Cancel a job: at once while it waits. One that still runs was told to end, and has ended a little later.

        Args:
            job: The job.
            if_unchanged: Only if it is still as ``job`` says; ``job`` must be the answer of a call.

        Raises:
            Conflict: It has ended already (``job_finished``), or it has changed (``job_changed``).
            NotFound: There is no such job.
        """
        named = handle_of(job) if isinstance(job, str) else job
        return await jobs.cancel(self._transport, named, if_unchanged=if_unchanged)

    @overload
    async def retry(
        self, job: JobHandle[ResultT], *, payload: Any = UNSET, if_unchanged: bool = False
    ) -> Job[ResultT]: ...
    @overload
    async def retry(self, job: str, *, payload: Any = UNSET) -> Job[Any]: ...
    async def retry(self, job: JobHandle[Any] | str, *, payload: Any = UNSET, if_unchanged: bool = False) -> Job[Any]:
        """Submit an ended job again, and return the new job. Needs the scope ``operate``.

        Args:
            job: The job that has ended.
            payload: Another payload; by default its own.
            if_unchanged: As for ``cancel``.

        Raises:
            Conflict: It has not ended (``job_not_finished``), was retried before (``job_retried``, ``job_id``), or it
                has changed (``job_changed``).
            NotFound: There is no such job.
        """
        named = handle_of(job) if isinstance(job, str) else job
        return await jobs.retry(self._transport, named, payload, if_unchanged=if_unchanged)

    async def list(self, **which: Unpack[ListOptions]) -> AsyncGenerator[Job[Any], None]:
        """Give the caller's jobs, the one that was accepted last first.

        A job that is there all the time is given once, whatever comes and goes meanwhile.

        Args:
            which: ``ListOptions``: those for which every part that is given holds.
        """
        async for view in pages(self._transport, "/jobs", "jobs", written(which).items()):
            yield read_job(view, JobHandle(""))

    async def batch(self, batch_id: str) -> BatchView:
        """Return the state of a batch. Raises NotFound."""
        return await self.batches.read(batch_id)

    async def request(self, method: str, path: str, *, json: Any = UNSET, repeatable: bool = False) -> httpx.Response:
        """Return the answer to any other request, e.g. ``POST /reports``.

        Args:
            method: ``GET``, ``POST`` …
            path: Below the base URL.
            json: The body.
            repeatable: Whether it does no harm if the service gets it twice. A GET never does.
        """
        body = None if json is UNSET else to_json(json)
        return await self._transport.send(Request(method, path, body=body, repeatable=repeatable or method == "GET"))


def _failed(job: Job[Any]) -> JobFailed:
    if failure := job.failure:
        return JobFailed(failure.message, code=failure.code, job=job)
    return JobFailed(f"The job is {job.state}.", code=job.state.value, job=job)
