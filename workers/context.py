"""What a running job may say and ask: its first argument."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from hashlib import sha256
from itertools import chain, count
from math import isfinite
from numbers import Integral, Real
from time import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, cast, get_type_hints

from pydantic import TypeAdapter
from typing_extensions import TypeVar, Unpack

from arqway.workers.contract.errors import DuplicateJob, InvalidSubmission, LeaseLost
from arqway.workers.contract.keys import DEFAULT_TENANT
from arqway.workers.contract.record import JobRecord, Progress
from arqway.workers.contract.states import JobState

if TYPE_CHECKING:
    from arqway.workers.client.submission import SubmitOptions
    from arqway.workers.definition import JobDefinition

ResourcesT = TypeVar("ResourcesT", default=Any)
StepT = TypeVar("StepT")
PayloadT = TypeVar("PayloadT")
P = ParamSpec("P")


class AttemptLink(Protocol):
    """How one attempt writes to its own job. Every write is fenced: an attempt that lost its job writes nothing."""

    def report(self, progress: Progress) -> None:
        """Write progress soon; a later report may overtake it. Never waits for Redis."""

    async def read_step(self, name: str) -> bytes | None:
        """Return the kept result of a step, as JSON."""

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Keep a step's result and return the one that is kept; None if the job is lost."""

    async def submit(self, job: "JobDefinition[Any, Any]", payload: Any, options: "SubmitOptions") -> JobRecord:
        """Submit another job, which inherits from this one. Raises what ``JobQueue.submit`` raises."""

    async def read(self, job_id: str) -> JobRecord:
        """Return the record of a job that was submitted before."""


class SubmittedJob(NamedTuple):
    """What a job submitted in a unit test."""

    job: "JobDefinition[Any, Any]"
    payload: Any
    options: "SubmitOptions"
    """As they were given; nothing is inherited."""
    record: JobRecord


class LocalAttempt:
    """A link to nowhere, for calling a job in a unit test: it remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.steps: dict[str, bytes] = {}
        self.submitted: dict[str, SubmittedJob] = {}

    def report(self, progress: Progress) -> None:
        """Remember the progress."""
        self.reports.append(progress)

    async def read_step(self, name: str) -> bytes | None:
        """Return what ``keep_step`` kept."""
        return self.steps.get(name)

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Remember the first result of the step."""
        return self.steps.setdefault(name, result_json)

    async def submit(self, job: "JobDefinition[Any, Any]", payload: Any, options: "SubmitOptions") -> JobRecord:
        """Remember the submission by the job's id. Raises DuplicateJob where there is one."""
        job_id = options.get("job_id") or f"local-{len(self.submitted)}"
        if job_id in self.submitted:
            raise DuplicateJob
        now_ms = int(time() * 1000)
        record = JobRecord(
            id=job_id,
            kind=job.kind,
            queue=options.get("queue") or job.queue,
            state=JobState.SCHEDULED if options.get("delay") or options.get("run_at") else JobState.QUEUED,
            max_attempts=job.retry.max_attempts,
            created_ms=now_ms,
            due_ms=now_ms,
            tenant=options.get("tenant") or DEFAULT_TENANT,
            tags=tuple(options.get("tags") or ()),
        )
        self.submitted[job_id] = SubmittedJob(job, payload, options, record)
        return record

    async def read(self, job_id: str) -> JobRecord:
        """Return what ``submit`` returned."""
        return self.submitted[job_id].record


class ChildIds:
    """Gives the jobs that one attempt submits ids that the next attempt will give them, too.

    An id is a digest of the parent's id and of what is submitted: its kind, its payload, and how many equal ones this
    attempt has submitted before. So it does not depend on the order of the calls, nor on what else is submitted.
    """

    def __init__(self, parent_id: str) -> None:
        self._parent_id = parent_id
        self._unused: dict[bytes, Iterator[int]] = {}

    def keyed(self, key: str) -> str:
        """Return the id of the child that the parent calls ``key``."""
        return self._digest("key", key)

    @contextmanager
    def next(self, kind: str, payload_json: bytes) -> Iterator[str]:
        """Give the id of one more child with this payload; if the block raises, the next call gives it again."""
        content = sha256(b"%b\0%b" % (kind.encode(), payload_json)).digest()
        numbers = self._unused.setdefault(content, count())
        number = next(numbers)
        try:
            yield self._digest("content", content.hex(), str(number))
        except BaseException:
            self._unused[content] = chain([number], self._unused[content])
            raise

    def _digest(self, *parts: str) -> str:
        return sha256("\0".join((self._parent_id, *parts)).encode(errors="replace")).hexdigest()[:32]


class JobContext(Generic[ResourcesT]):
    """One attempt of one job, as the job sees it.

    Args:
        resources: What the registry's ``resources`` opened in this worker process.
        job_id: The same for all attempts, so it can serve as an idempotency key towards others.
        attempt: From 1.
        max_attempts: Attempts in all.
        link: Where progress and steps go; left out in a unit test.
    """

    def __init__(
        self,
        resources: ResourcesT,
        *,
        job_id: str = "local",
        kind: str = "local",
        attempt: int = 1,
        max_attempts: int = 1,
        link: AttemptLink | None = None,
    ) -> None:
        self.resources = resources
        self.job_id = job_id
        self.kind = kind
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.link = link or LocalAttempt()
        self._children = ChildIds(job_id)

    @cached_property
    def deadline_near(self) -> asyncio.Event:
        """Set at the soft time limit: time to clean up."""
        return asyncio.Event()

    async def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Report how far the job is.

        Cheap to call often: the latest report is written soon and those it overtook are dropped. It neither waits for
        Redis nor fails when Redis is away.

        Raises:
            TypeError: A number that is none, or not finite.
        """
        self.link.report(Progress(_number(current), None if total is None else _number(total), _clean(message)))
        await asyncio.sleep(0)

    async def step(self, name: str, call: Callable[P, Awaitable[StepT]], *args: P.args, **kwargs: P.kwargs) -> StepT:
        """Run ``call`` once for this job, also across attempts, and return its result.

        The result is kept as JSON by its return annotation. At least once: if the worker dies after the call and before
        its result is kept, the next attempt calls again.

        Raises:
            LeaseLost: Another worker owns this job now; the result was not kept.
            StoreUnavailable: Redis is away.
        """
        adapter: TypeAdapter[Any] = TypeAdapter(get_type_hints(_unwrapped(call)).get("return", Any))
        kept = await self.link.read_step(name)
        if kept is None:
            result = adapter.dump_json(await call(*args, **kwargs), by_alias=True, round_trip=True, warnings="error")
            kept = await self.link.keep_step(name, result)
        if kept is None:
            raise LeaseLost
        return cast(StepT, adapter.validate_json(kept))

    async def submit(
        self,
        job: "JobDefinition[PayloadT, Any]",
        payload: PayloadT,
        *,
        key: str | None = None,
        **options: "Unpack[SubmitOptions]",
    ) -> JobRecord:
        """Submit another job, once for this job, also across attempts; return its record.

        It inherits this job's tenant, tags and deadline. An option that is given wins, None included: ``deadline=None``
        means none at all.

        A later attempt that submits the same kind with the same payload gets the record of the first submission, as the
        job is by then. Where the payload differs with each attempt, give a ``key``. At least once: the child's record
        may be past its retention time before the next attempt; and a person's retry is a new job with new children.

        Args:
            job: What ``@job`` made.
            payload: Validated against the job's payload type.
            key: Names the child within this job: the same key, the same child, whatever its payload.
            options: ``workers.client.SubmitOptions``. With a ``job_id`` of your own the second submission is refused.

        Raises:
            LeaseLost: Another worker owns this job now, and will submit the child.
            InvalidPayload, DuplicateJob, NotUnique, InvalidSubmission, StoreUnavailable: As ``JobQueue.submit``.
        """
        payload_json = job.write_payload(payload)
        if options.get("job_id") is not None:
            if key is not None:
                raise InvalidSubmission("A job has a key within its parent or a job_id, not both.")
            return await self.link.submit(job, payload, options)
        if key is not None:
            return await self._submit_once(job, payload, self._children.keyed(key), options)
        with self._children.next(job.kind, payload_json) as job_id:
            return await self._submit_once(job, payload, job_id, options)

    async def _submit_once(
        self, job: "JobDefinition[Any, Any]", payload: Any, job_id: str, options: "SubmitOptions"
    ) -> JobRecord:
        try:
            return await self.link.submit(job, payload, {**options, "job_id": job_id})
        except DuplicateJob:
            return await self.link.read(job_id)


def _unwrapped(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind ``functools.partial``, which has no annotations of its own."""
    while isinstance(call, partial):
        call = call.func
    return call


def _number(value: float) -> float:
    if isinstance(value, Real) and isfinite(value):  # numpy's numbers are Real, too
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"progress is a finite number, not {value!r}")


def _clean(message: str | None) -> str | None:
    """Replace lone surrogates, which no UTF-8 answer can carry."""
    return None if message is None else message.encode(errors="replace").decode()
