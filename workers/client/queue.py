"""``JobQueue``: what a client of jobs can do. Used by the HTTP service, by scripts beside Redis, and by jobs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from secrets import token_bytes, token_hex
from time import time
from typing import Any

from pydantic_core import from_json

from workers.connection import open_redis
from workers.contract import envelope, keys
from workers.contract.errors import (
    ConfigurationError,
    DuplicateJob,
    InvalidPayload,
    InvalidSubmission,
    JobFinished,
    JobNotFound,
    WaitTimeout,
)
from workers.contract.record import JobRecord
from workers.contract.states import JobState
from workers.definition import JobDefinition, PayloadT, Registry, ResultT
from workers.entries import Submission
from workers.group_commit import GroupCommit
from workers.settings import Settings
from workers.store import JobStore

_FOREVER_MS = 100 * 365 * 86_400_000
_PORTION = 500
"""Jobs that one script call accepts: more would keep Redis from others for longer than some 10 ms."""
_WAIT_BLOCK_MS = 5_000


class JobQueue:
    """Submits jobs and tells what became of them. Safe to share between tasks of one event loop.

    Calls that come at the same time share a round trip to Redis.

    Args:
        store: Where jobs are kept.
        registry: The kinds that may be submitted.
        settings: Retention times.
    """

    def __init__(self, store: JobStore, registry: Registry, settings: Settings) -> None:
        self.registry = registry
        self._store = store
        self._settings = settings
        self._submissions = GroupCommit(store.submit)
        self._reads = GroupCommit(store.read_many)

    async def submit(
        self,
        job: JobDefinition[PayloadT, ResultT],
        payload: PayloadT,
        *,
        job_id: str | None = None,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
    ) -> JobRecord:
        """Accept a job for running. Once this returns, the job is not lost: it will reach a terminal state.

        Args:
            job: What ``@job`` made.
            payload: Validated against the job's payload type before anything is stored.
            job_id: The caller's own id; a random one by default.
            delay: Start no sooner than this from now.
            run_at: Start no sooner than this moment; needs a time zone.

        Raises:
            InvalidPayload: The payload does not fit.
            DuplicateJob: A job with ``job_id`` exists.
            InvalidSubmission: The id, the delay or the moment cannot be used.
            StoreUnavailable: Redis is away. The job may or may not have been accepted.
        """
        return await self._accept(job, job.write_payload(payload), job_id=job_id, delay=delay, run_at=run_at)

    async def submit_many(
        self,
        job: JobDefinition[PayloadT, ResultT],
        payloads: Iterable[PayloadT],
        *,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
    ) -> list[str]:
        """Accept many jobs of one kind, and return their ids in the order of the payloads.

        Nothing is accepted if any payload does not fit. The jobs are accepted in portions, each atomic; if Redis goes
        away in between, those before are accepted.

        Raises:
            InvalidPayload: One of the payloads does not fit.
            InvalidSubmission: The delay or the moment cannot be used.
            StoreUnavailable: Redis is away. The jobs of the last portion may or may not have been accepted.
        """
        now_ms, run_at_ms, delay_ms = int(time() * 1000), _moment_ms(run_at), _delay_ms(delay)
        envelopes = [job.write_envelope(job.write_payload(payload), now_ms) for payload in payloads]
        tries = job.retry.max_attempts
        ids = _new_ids(len(envelopes))
        jobs = [
            Submission(job_id, job.kind, job.queue, envelope, tries, run_at_ms, delay_ms)
            for job_id, envelope in zip(ids, envelopes, strict=True)
        ]
        for i in range(0, len(jobs), _PORTION):
            await self._store.submit(jobs[i : i + _PORTION])
        return ids

    async def submit_json(self, kind: str, payload_json: bytes, **options: Any) -> JobRecord:
        """Accept a job by the name of its kind and the JSON of its payload; ``options`` are those of ``submit``.

        Raises:
            UnknownKind: The registry has no such kind; else as ``submit``.
        """
        job = self.registry.find(kind)
        job.read_payload(payload_json)
        return await self._accept(job, _strict(payload_json), **options)

    async def _accept(
        self,
        job: JobDefinition[Any, Any],
        payload_json: bytes,
        *,
        job_id: str | None = None,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
    ) -> JobRecord:
        submission = Submission(
            id=_checked_id(job_id),
            kind=job.kind,
            queue=job.queue,
            envelope=job.write_envelope(payload_json, int(time() * 1000)),
            max_attempts=job.retry.max_attempts,
            run_at_ms=_moment_ms(run_at),
            delay_ms=_delay_ms(delay),
        )
        accepted = await self._submissions(submission)
        if accepted is None:
            raise DuplicateJob(f"A job with the id {submission.id} exists already.")
        return JobRecord(
            id=submission.id,
            kind=job.kind,
            queue=job.queue,
            state=JobState.SCHEDULED if accepted.due_ms > accepted.now_ms else JobState.QUEUED,
            max_attempts=job.retry.max_attempts,
            created_ms=accepted.now_ms,
            due_ms=accepted.due_ms,
        )

    async def read(self, job_id: str) -> JobRecord:
        """Return the job's record. Raises JobNotFound."""
        record = await self._reads(job_id) if keys.is_job_id(job_id) else None
        if record is None:
            raise JobNotFound(f"There is no job {job_id[:128]}.")
        return record

    async def wait(self, job_id: str, *, timeout_s: float) -> JobRecord:
        """Return the record once the job has finished; follows its events, so it does not poll.

        Raises:
            WaitTimeout: It has not finished in time.
            JobNotFound: There is no such job.
        """
        try:
            async with asyncio.timeout(timeout_s):
                last_id = "0"
                while not (record := await self.read(job_id)).finished:
                    last_id = await self._store.next_event(job_id, last_id, block_ms=_WAIT_BLOCK_MS)
                return record
        except TimeoutError:
            raise WaitTimeout(f"Job {job_id} has not finished within {timeout_s:g} s.") from None

    async def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once while it waits; a running one is told to end and gets a grace time.

        Returns:
            The record afterwards. Where its state is still ``running``, ``cancel_ms`` is set.

        Raises:
            JobFinished: It has ended already.
            JobNotFound: There is no such job.
        """
        record = await self.read(job_id)
        answer = await self._store.cancel(
            job_id,
            record.queue,
            arq_result=_cancelled_result(record),
            keep_result_ms=int(self._settings.keep_result_s * 1000),
            retention_ms=int(self._settings.retention_s * 1000),
        )
        if answer == "finished":
            raise JobFinished(f"Job {job_id} has finished already.")
        return await self.read(job_id)

    async def ping(self) -> None:
        """Return if the store answers. Raises StoreUnavailable."""
        await self._store.ping()


@asynccontextmanager
async def open_queue(settings: Settings, registry: Registry) -> AsyncIterator[JobQueue]:
    """Give a ``JobQueue`` on ``settings.redis_url``; it connects when first used, and is closed afterwards."""
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set, and no embedded server was started")
    redis = open_redis(settings.redis_url.get_secret_value())
    try:
        store = JobStore(redis)
        async with store.lanes():
            yield JobQueue(store, registry, settings)
    finally:
        await redis.aclose()


def _strict(payload_json: bytes) -> bytes:
    """Refuse the NaN and Infinity that pydantic reads and no JSON allows: other readers of the envelope could not."""
    if b"NaN" in payload_json or b"Infinity" in payload_json:
        try:
            from_json(payload_json, allow_inf_nan=False)
        except ValueError:
            raise InvalidPayload("NaN and Infinity are not JSON.") from None
    return payload_json


def _cancelled_result(record: JobRecord) -> bytes:
    ended_ms = int(time() * 1000)
    return envelope.write_result(
        job_id=record.id,
        kind=record.kind,
        queue=keys.queue(record.queue),
        attempt=record.attempt,
        success=False,
        value_json=envelope.CANCELLED_JSON,
        created_ms=record.created_ms,
        started_ms=record.started_ms or ended_ms,
        ended_ms=ended_ms,
    )


def _new_ids(count: int) -> list[str]:
    """Return random ids of 128 bits; one call of the system for all of them."""
    digits = token_bytes(16 * count).hex()
    return [digits[i : i + 32] for i in range(0, len(digits), 32)]


def _checked_id(job_id: str | None) -> str:
    if job_id is None:
        return token_hex(16)
    if not keys.is_job_id(job_id):
        raise InvalidSubmission("A job id is 1 to 128 characters of A-Z a-z 0-9 _ . : ~ -")
    return job_id


def _delay_ms(delay: timedelta | None) -> int:
    milliseconds = 0 if delay is None else delay // timedelta(milliseconds=1)
    if not 0 <= milliseconds <= _FOREVER_MS:
        raise InvalidSubmission("A delay is between 0 and 100 years.")
    return milliseconds


def _moment_ms(moment: datetime | None) -> int:
    if moment is None:
        return 0
    if moment.tzinfo is None:
        raise InvalidSubmission("run_at needs a time zone.")
    return max(1, int(moment.timestamp() * 1000))
