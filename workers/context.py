"""``JobContext``: the first argument of every job, through which it reports progress, runs steps and submits jobs."""

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
from arqway.workers.contract.values import InvalidResult, difference, listed

if TYPE_CHECKING:
    from arqway.workers.client.submission import SubmitOptions
    from arqway.workers.definition import JobDefinition

_MESSAGE_CHARS_MAX = 2_000
ResourcesT = TypeVar("ResourcesT", default=Any)
StepT = TypeVar("StepT")
PayloadT = TypeVar("PayloadT")
P = ParamSpec("P")


class AttemptLink(Protocol):
    """Connects an attempt to its job's record. Every write is fenced: an attempt that lost its job writes nothing."""

    def report(self, progress: Progress) -> None:
        """Write progress soon, unless a later report supersedes it first. Never waits for Redis."""

    async def read_step(self, name: str) -> bytes | None:
        """Return the stored result of a step as JSON, or None."""

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Store a step's result and return the one that is stored; None if the job is lost."""

    async def submit(self, job: "JobDefinition[Any, Any]", payload: Any, options: "SubmitOptions") -> JobRecord:
        """Submit another job, which inherits from this one. Raises the same errors as ``JobQueue.submit``."""

    async def read(self, job_id: str) -> JobRecord:
        """Return the record of a job submitted earlier."""


class SubmittedJob(NamedTuple):
    """A job submitted by another job in a unit test."""

    job: "JobDefinition[Any, Any]"
    payload: Any
    options: "SubmitOptions"
    """The options as passed; nothing is inherited."""
    record: JobRecord


class LocalAttempt:
    """An in-memory link for calling a job in a unit test. It keeps everything the job reports, stores and submits."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.steps: dict[str, bytes] = {}
        self.submitted: dict[str, SubmittedJob] = {}

    def report(self, progress: Progress) -> None:
        """Append to ``reports``."""
        self.reports.append(progress)

    async def read_step(self, name: str) -> bytes | None:
        """Return the result stored by ``keep_step``, or None."""
        return self.steps.get(name)

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Store the first result of the step and return it."""
        return self.steps.setdefault(name, result_json)

    async def submit(self, job: "JobDefinition[Any, Any]", payload: Any, options: "SubmitOptions") -> JobRecord:
        """Store the submission under the job's id. Raises DuplicateJob if the id is taken."""
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
        """Return the record that ``submit`` returned."""
        return self.submitted[job_id].record


class ChildIds:
    """Generates ids for child jobs that are the same in every attempt of the parent.

    An id is a digest of the parent's id and the submission: its kind, its payload, and how many identical submissions
    this attempt made before it. It therefore depends neither on the order of the calls nor on other submissions.
    """

    def __init__(self, parent_id: str) -> None:
        self._parent_id = parent_id
        self._unused: dict[bytes, Iterator[int]] = {}

    def keyed(self, key: str) -> str:
        """Return the id of the child that the parent names ``key``."""
        return self._digest("key", key)

    @contextmanager
    def next(self, kind: str, payload_json: bytes) -> Iterator[str]:
        """Yield the id of the next child with this payload; if the block raises, the next call yields it again."""
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
    """The current attempt, as seen by the job itself.

    Args:
        resources: The resources opened by the registry in this worker process.
        job_id: The same for all attempts, so it can serve as an idempotency key for calls to other services.
        kind: The job's kind.
        attempt: Number of this attempt, counted from 1.
        max_attempts: Maximum number of attempts, the first included.
        link: Receives progress, steps and submissions; omit it in a unit test.
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

    @cached_property
    def _children(self) -> ChildIds:
        return ChildIds(self.job_id)

    @cached_property
    def deadline_near(self) -> asyncio.Event:
        """An event that is set at the soft time limit, when the job should start to clean up."""
        return asyncio.Event()

    async def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Report the job's progress.

        Cheap to call often: the latest report is written soon, and reports it supersedes are dropped. Neither waits
        for Redis nor fails when Redis is unavailable.

        Raises:
            TypeError: ``current`` or ``total`` is not a finite number.
            ValueError: The message has more than 2,000 characters.
        """
        if message is not None and len(message) > _MESSAGE_CHARS_MAX:
            raise ValueError(f"a progress message has {_MESSAGE_CHARS_MAX:,} characters at most, not {len(message):,}")
        self.link.report(Progress(_number(current), None if total is None else _number(total), _clean(message)))
        await asyncio.sleep(0)

    async def step(self, name: str, call: Callable[P, Awaitable[StepT]], *args: P.args, **kwargs: P.kwargs) -> StepT:
        """Run ``call`` once for this job, across all its attempts, and return its result.

        The result is stored as JSON according to the return annotation of ``call``. At least once: if the worker dies
        after the call but before its result is stored, the next attempt calls again.

        Raises:
            InvalidResult: The result would not read back from JSON as the same value, so it was not stored.
            LeaseLost: Another worker owns this job now; the result was not stored.
            StoreUnavailable: Redis is unavailable.
        """
        hint = get_type_hints(_unwrapped(call)).get("return", Any)
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        kept = await self.link.read_step(name)
        if kept is None:
            result = await call(*args, **kwargs)
            try:
                result_json = adapter.dump_json(result, by_alias=True, round_trip=True, warnings="error")
                given = listed(result) if hint is Any else result  # without an annotation a tuple comes back as a list
                place = difference(given, adapter.validate_json(result_json))
            except Exception as error:
                raise InvalidResult(f"the result of step {name!r} does not fit its annotation, {hint}") from error
            if place is not None:
                raise InvalidResult(f"the result{place} of step {name!r} would not read back as it was given")
            kept = await self.link.keep_step(name, result_json)
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
        """Submit a child job, once across all attempts of this job, and return its record.

        The child inherits this job's tenant, tags and deadline. Options passed explicitly take precedence, None
        included: ``deadline=None`` means no deadline.

        A later attempt that submits the same kind with the same payload gets the current record of the first
        submission. If the payload differs between attempts, pass a ``key``. At least once: the child's record may have
        expired before the next attempt, and a manual retry is a new job with new children.

        Args:
            job: A job defined with ``@job``.
            payload: Validated against the job's payload type.
            key: Identifies the child within this job: the same key is the same child, whatever its payload.
            options: ``workers.client.SubmitOptions``. With an explicit ``job_id`` the second submission is refused.

        Raises:
            LeaseLost: Another worker owns this job now and will submit the child.
            InvalidPayload, DuplicateJob, NotUnique, InvalidSubmission, StoreUnavailable: As in ``JobQueue.submit``.
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
    """Return the function wrapped by ``functools.partial``, which has no annotations itself."""
    while isinstance(call, partial):
        call = call.func
    return call


def _number(value: float) -> float:
    if isinstance(value, Real) and isfinite(value):  # includes numpy numbers
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"progress is a finite number, not {value!r}")


def _clean(message: str | None) -> str | None:
    """Replace lone surrogates, which cannot be encoded as UTF-8."""
    return None if message is None else message.encode(errors="replace").decode()
