"""``ArqwayClient``: submit jobs over HTTP, wait for them, follow and cancel them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
from pydantic_core import to_json
from typing_extensions import Unpack

from arqway.service.client import jobs
from arqway.service.client.batches import HttpBatches
from arqway.service.client.errors import ApiError, Conflict
from arqway.service.client.operations import Operations
from arqway.service.client.options import (
    UNSET,
    HttpSubmitOptions,
    ListOptions,
    NewJob,
    key_header,
    payload_json,
    written,
)
from arqway.service.client.streams import events as events_of
from arqway.service.client.transport import Request, Transport
from arqway.service.client.views import Event, Job, JobHandle, ResultT, SubmittedBatch, handle_of, read_job
from arqway.service.shapes.batches import BatchView
from arqway.workers.contract.errors import JobFailed, WaitTimeout
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition, PayloadT


class ArqwayClient:
    """A client of one service; use it as an async context manager. Tasks of one event loop may share it.

    Methods take a job as ``submit`` and the others return it, or its id. They try again where that is safe and may
    help, no sooner than ``Retry-After`` says. If a call fails in the end, it raises an ``ApiError``.

    Args:
        base_url: The URL of the service, e.g. ``http://127.0.0.1:8000``.
        api_key: Required by a service with ``ARQWAY_AUTH=keys``. Never logged.
        timeout_s: How long a call may take, including all its tries, in addition to the time it was asked to wait.
        retries: Tries after the first.
        connect: Opens the connections, e.g. an ``httpx.AsyncHTTPTransport`` with your certificates, or an
            ``httpx.ASGITransport`` in tests. The environment's proxies and certificates are not used.

    Raises:
        ConfigurationError: The URL or the key is malformed.
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
        """The URL of the service, without a password."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def submit(
        self, job: JobDefinition[PayloadT, ResultT] | str, payload: PayloadT, **options: Unpack[HttpSubmitOptions]
    ) -> Job[ResultT]:
        """Submit a job. Once this returns, the job is stored and will end.

        Args:
            job: Its definition, for a typed payload and result; or its kind.
            payload: Its input.
            options: ``HttpSubmitOptions``. With ``wait_s`` the job is returned at its end, if it ends in that time.

        Raises:
            Invalid: The payload or an option is invalid.
            NotFound: The service has no such kind.
            Conflict: An unfinished job, ``job_id``, has the ``unique_key``.
            Unavailable, TooManyRequests: As far as is known, it was not accepted. With the same ``idempotency_key`` it
                is safe to repeat the call.
            ApiError: Something else went wrong.
        """
        wait_s, key = options.pop("wait_s", None), options.pop("idempotency_key", None)
        item = NewJob(job, payload, options)
        body = payload_json(item.definition, payload)
        path, headers = f"/jobs/{quote(item.kind, safe='')}", key_header(key)
        answer = await self._transport.send(Request("POST", path, item.query(), body, headers))
        accepted: Job[ResultT] = jobs.job_in(answer, item.handle(""))
        if wait_s:  # in requests of its own: a submission that waits holds its key, so it could not be sent again
            with suppress(ApiError, WaitTimeout):
                return await self.wait(accepted, timeout_s=wait_s)
        return accepted

    async def submit_many(
        self, items: Sequence[NewJob], *, atomic: bool = False, idempotency_key: str | None = None
    ) -> SubmittedBatch:
        """Submit up to 1,000 jobs at once, as ``batches.submit``; ``batches`` has the other calls for batches."""
        return await self.batches.submit(items, atomic=atomic, idempotency_key=idempotency_key)

    async def get(self, job: JobHandle[ResultT] | str) -> Job[ResultT]:
        """Return a snapshot of the job. Raises NotFound."""
        handle = handle_of(job)
        return jobs.job_in(await self._transport.send(Request("GET", jobs.path_of(handle))), handle)

    async def wait(self, job: JobHandle[ResultT] | str, *, timeout_s: float | None = None) -> Job[ResultT]:
        """Return the job once it has ended, in any state.

        Args:
            job: The job.
            timeout_s: How long to wait, even while the service is unavailable. None: as long as the job takes.

        Raises:
            WaitTimeout: It has not ended in time.
            NotFound: There is no such job.
        """
        return await jobs.wait(self._transport, handle_of(job), timeout_s)

    async def result(self, job: JobHandle[ResultT] | str, *, timeout_s: float | None = None) -> ResultT:
        """Wait for the job's end and return its result. Raises JobFailed if it has none; otherwise as ``wait``."""
        ended = await self.wait(job, timeout_s=timeout_s)
        if ended.succeeded:
            return ended.result  # type: ignore[return-value]  # None only if that is the result
        if failure := ended.failure:
            raise JobFailed(failure.message, code=failure.code, job=ended)
        raise JobFailed(f"The job is {ended.state}.", code=ended.state.value, job=ended)

    def stream(
        self, job: JobHandle[ResultT] | str, *, after: str | None = None
    ) -> AsyncGenerator[Event[ResultT], None]:
        """Yield the job's events from its submission up to the one that ends it, which has the whole ``job``.

        A broken stream is resumed where it broke.

        Args:
            job: The job.
            after: The id of the event to continue after.

        Raises:
            NotFound: There is no such job.
            Unavailable: The service has too many streams open, or is unavailable for too long; ``changes`` may still
                work.
        """
        handle = handle_of(job)
        return events_of(self._transport, f"{jobs.path_of(handle)}/events", handle, after=after)

    def stream_all(self, *, events: Sequence[str] = (), after: str | None = None) -> AsyncGenerator[Event[Any], None]:
        """Yield the events of all jobs of the caller, from now on, without end.

        Args:
            events: Only events with these names; by default all.
            after: The id of the event to continue after.
        """
        path = f"/events?{urlencode({'event': events}, doseq=True)}"
        return events_of(self._transport, path, JobHandle(""), after=after, endless=True)

    def changes(self, job: JobHandle[ResultT] | str) -> AsyncGenerator[Job[ResultT], None]:
        """Yield the job as it is now and after each change, up to its end. Works where a proxy blocks streams.

        Changes in quick succession may be combined.
        """
        return jobs.changes(self._transport, handle_of(job))

    async def cancel(self, job: JobHandle[ResultT] | str, *, if_unchanged: bool = False) -> Job[ResultT]:
        """Cancel a job. One that waits is cancelled at once; one that runs is asked to stop and ends a little later.

        Args:
            job: The job.
            if_unchanged: Only if it is still as ``job`` says; ``job`` must be the return value of a call.

        Raises:
            Conflict: It has already ended (``job_finished``), or it has changed (``job_changed``).
            NotFound: There is no such job.
        """
        try:
            return await self._act(job, "cancel", None, if_unchanged)
        except Conflict as error:  # an earlier try may have been served, and only its response lost
            now = await self.get(job) if error.repeated else None
            if now and (now.state is JobState.CANCELLED or now.cancel_requested_at):
                return now
            raise

    async def retry(
        self, job: JobHandle[ResultT] | str, *, payload: Any = UNSET, if_unchanged: bool = False
    ) -> Job[ResultT]:
        """Submit a job that has ended again, and return the new job. Needs the scope ``operate``.

        Args:
            job: The job that has ended.
            payload: Another payload; by default its own.
            if_unchanged: As for ``cancel``.

        Raises:
            Conflict: It has not ended (``job_not_finished``), was already retried (``job_retried``, ``job_id``), or it
                has changed (``job_changed``).
            NotFound: There is no such job.
        """
        handle = handle_of(job)
        body = None if payload is UNSET else payload_json(handle.definition, payload)
        try:
            return await self._act(job, "retry", body, if_unchanged)
        except Conflict as error:  # an earlier try may have been served, and only its response lost
            now = await self.get(job) if error.repeated else None
            if now and now.retried_as:
                return await self.get(JobHandle(now.retried_as, handle.definition))
            raise

    async def _act(
        self, job: JobHandle[ResultT] | str, verb: str, body: bytes | None, if_unchanged: bool
    ) -> Job[ResultT]:
        handle, headers = handle_of(job), {}
        if if_unchanged:
            if not isinstance(job, Job) or job.etag is None:
                raise TypeError("if_unchanged needs a job as a call returned it")
            headers["If-Match"] = job.etag
        path = f"{jobs.path_of(handle)}:{verb}"
        return jobs.job_in(await self._transport.send(Request("POST", path, body=body, headers=headers)), handle)

    async def list(self, **which: Unpack[ListOptions]) -> AsyncGenerator[Job[Any], None]:
        """Yield the caller's jobs, the last one accepted first.

        A job that exists all the time is yielded once, whatever else is added or removed meanwhile.

        Args:
            which: ``ListOptions``: a filter.
        """
        async for view in self._transport.pages("/jobs", "jobs", [*written(which).items()]):
            yield read_job(view, JobHandle(""))

    async def batch(self, batch_id: str) -> BatchView:
        """Return a snapshot of a batch. Raises NotFound."""
        return await self.batches.read(batch_id)

    async def request(self, method: str, path: str, *, json: Any = UNSET, repeatable: bool = False) -> httpx.Response:
        """Return the response to any other request, e.g. ``POST /reports``.

        Args:
            method: ``GET``, ``POST`` …
            path: The path below the base URL.
            json: The body.
            repeatable: Whether it does no harm if the service receives it twice. For GET that is always so.
        """
        body = None if json is UNSET else to_json(json)
        return await self._transport.send(Request(method, path, body=body, repeatable=repeatable or method == "GET"))
