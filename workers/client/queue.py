"""``JobQueue``: submit a job, read it, wait for it, cancel it, retry it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from time import time
from typing import Any, overload

from typing_extensions import Unpack

from arqway.workers.client.after_commit import CommitSender, PendingJob, SqlSession
from arqway.workers.client.feed import EventFeed
from arqway.workers.client.submission import (
    Accepted,
    SubmitOptions,
    accepted_record,
    check_size,
    delay_ms,
    make_submission,
    new_id,
    portions,
    refusal_error,
    retry_error,
    strict_json,
)
from arqway.workers.contract import keys
from arqway.workers.contract.errors import ConfigurationError, JobNotFound, WaitTimeout
from arqway.workers.contract.record import JobRecord
from arqway.workers.definition import JobDefinition, PayloadT
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from arqway.workers.store.batcher import Batcher
from arqway.workers.store.connection import open_redis
from arqway.workers.store.events import Streams
from arqway.workers.store.jobs import Acceptance, BatchOpening, JobStore, Refusal, Submission, SubmitAnswer

_LOOK_AGAIN_S = 5.0
"""How often a waiter reads the job again although its feed is silent."""


class JobQueue:
    """Submits jobs and reports on them. Safe to share between tasks of one event loop.

    Concurrent calls share a round trip to Redis.

    Args:
        store: Where jobs are stored.
        registry: The kinds that may be submitted.
        settings: Retention times, and the callbacks that are allowed.
    """

    def __init__(self, store: JobStore, registry: Registry, settings: Settings) -> None:
        self.registry = registry
        self.streams = Streams(store.redis)
        self.feed = EventFeed(self.streams)
        self.redis = store.redis
        self._store = store
        self._settings = settings
        self._submissions = Batcher(store.submit, size_of=Submission.size)
        self._reads = Batcher(store.read_many)
        self.commits = CommitSender(self._accept, self.read)

    @overload
    async def submit(
        self, job: JobDefinition[PayloadT, Any], payload: PayloadT, **options: Unpack[SubmitOptions]
    ) -> JobRecord: ...

    @overload
    async def submit(
        self,
        job: JobDefinition[PayloadT, Any],
        payload: PayloadT,
        *,
        after_commit: SqlSession,
        **options: Unpack[SubmitOptions],
    ) -> PendingJob: ...

    async def submit(
        self,
        job: JobDefinition[PayloadT, Any],
        payload: PayloadT,
        *,
        after_commit: SqlSession | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobRecord | PendingJob:
        """Accept a job. Once this returns, the job is not lost: it will reach a terminal state.

        Args:
            job: A job defined with ``@job``.
            payload: Validated against the job's payload type before anything is stored.
            after_commit: A SQLAlchemy session. The job is submitted in the background when the session's outermost
                transaction commits, and never if it rolls back. The job is lost if this process dies after the commit
                and before Redis has the job, or if Redis is away for 30 s; ``docs/outbox.md`` has a way that loses
                nothing. The commit itself never fails because of the job.
            options: See ``workers.client.SubmitOptions``.

        Returns:
            The record or, with ``after_commit``, a ``PendingJob`` whose ``state`` follows the submission.

        Raises:
            InvalidPayload: The payload does not match the job's payload type.
            DuplicateJob: A job with this ``job_id`` exists.
            NotUnique: An unfinished job has this ``unique_key``.
            InvalidSubmission: Another option is invalid.
            StoreUnavailable: Redis is away. The job may or may not have been accepted.
        """
        submission = make_submission(job, job.write_payload(payload), options, self._settings)
        if after_commit is not None:
            return self.commits.hold(submission, after_commit)
        return (await self._accept(submission)).record

    async def flush(self, *, timeout_s: float = 10) -> bool:
        """Wait until every job of a committed transaction is accepted or lost; return whether that was in time."""
        return await self.commits.flush(timeout_s=timeout_s)

    async def submit_many(
        self,
        job: JobDefinition[PayloadT, Any],
        payloads: Iterable[PayloadT],
        *,
        delay: timedelta | None = None,
        run_at: datetime | None = None,
    ) -> list[str]:
        """Accept many jobs of one kind, and return their ids in the order of the payloads.

        Nothing is accepted if any payload is invalid. The jobs are accepted in chunks, each atomic; if Redis goes away
        in between, the earlier chunks are accepted.

        Raises:
            InvalidPayload: One of the payloads is invalid.
            InvalidSubmission: The delay or the start time is invalid.
            StoreUnavailable: Redis is away. The jobs of the last chunk may or may not have been accepted.
        """
        options: SubmitOptions = {"delay": delay, "run_at": run_at}
        jobs = [make_submission(job, job.write_payload(payload), options, self._settings) for payload in payloads]
        for portion in portions(jobs):
            await self._store.submit(portion)
        return [submission.id for submission in jobs]

    async def submit_json(self, kind: str, payload_json: bytes, **options: Unpack[SubmitOptions]) -> Accepted:
        """Accept a job, given the name of its kind and its payload as JSON.

        Raises:
            UnknownKind: The registry has no such kind.
            IdempotencyMismatch: The idempotency key was used before with another fingerprint.
            IdempotencyHeld: The first request with this key has no answer yet. Otherwise as for ``submit``.
        """
        return await self._accept(self.prepare(kind, payload_json, options))

    def prepare(self, kind: str, payload_json: bytes, options: SubmitOptions) -> Submission:
        """Return a submission without sending it. Raises UnknownKind, InvalidPayload or InvalidSubmission."""
        job = self.registry.find(kind)
        job.read_payload(payload_json)
        return make_submission(job, strict_json(payload_json), options, self._settings)

    async def submit_batch(self, jobs: Sequence[Submission], opening: BatchOpening) -> list[SubmitAnswer]:
        """Accept the jobs of a batch in one script; ``workers.client.Batches`` prepares them."""
        return await self._store.submit(jobs, opening)

    async def keep_answer(self, idempotency_key: str, made_id: str, answer: bytes) -> None:
        """Store the answer to a request with an idempotency key, to be replayed when the request is repeated."""
        await self._store.keep_answer(idempotency_key, made_id, answer)

    async def _accept(self, submission: Submission) -> Accepted:
        answer = await self._submissions(submission)
        if isinstance(answer, Acceptance):
            return Accepted(accepted_record(submission, answer))
        if isinstance(answer, Refusal):
            raise refusal_error(answer, submission.id)
        first = submission._replace(id=answer.id)
        return Accepted(accepted_record(first, Acceptance(answer.created_ms, answer.due_ms)), answer)

    async def read(self, job_id: str, *, tenant: str | None = None) -> JobRecord:
        """Return the job's record. Raises JobNotFound, also if ``tenant`` is given and the job is another tenant's."""
        record = await self._reads(possible_id(job_id))
        if record is None or tenant not in {None, record.tenant}:
            raise JobNotFound(f"There is no job {job_id}.")
        return record

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Return the records of the jobs that exist, in one round trip."""
        return [record for record in await self._store.read_many(job_ids) if record is not None] if job_ids else []

    async def wait(self, job_id: str, *, timeout_s: float, tenant: str | None = None) -> JobRecord:
        """Return the record once the job has finished. Follows the job's events instead of polling.

        Any number of waiters share one connection to Redis.

        Raises:
            WaitTimeout: The job has not finished in time.
            JobNotFound: There is no such job, or it is another tenant's.
        """
        try:
            async with asyncio.timeout(timeout_s):
                record = await self.read(job_id, tenant=tenant)
                return record if record.finished else await self._follow(record)
        except TimeoutError:
            raise WaitTimeout(f"Job {job_id} has not finished within {timeout_s:g} s.", job_id=job_id) from None

    async def changed(self, record: JobRecord, *, timeout_s: float, until_ended: bool = False) -> JobRecord:
        """Return the record once it changes or, if ``until_ended``, once the job ends; else after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(record, until_ended=until_ended)
        except TimeoutError:
            return await self.read(record.id)

    async def _follow(self, record: JobRecord, *, until_ended: bool = True) -> JobRecord:
        seen = record.version
        async with self.feed.listen(record.tenant, record.id) as news:
            while not (record := await self.read(record.id)).finished and (until_ended or record.version == seen):
                heard = await news.next(timeout_s=_LOOK_AGAIN_S)
                while until_ended and heard and not any(one.event.ends for one in heard):
                    heard = await news.next(timeout_s=_LOOK_AGAIN_S)
            return record

    async def cancel(self, job_id: str, *, tenant: str | None = None, version: int | None = None) -> JobRecord:
        """Cancel a job: at once while it waits; a running job is asked to stop and gets a grace period.

        Returns:
            The record afterwards. If its state is still ``running``, ``cancel_ms`` is set.

        Raises:
            JobFinished: The job has already ended.
            JobChanged: The record's version is not ``version``.
            JobNotFound: There is no such job, or it is another tenant's.
        """
        answer = await self._store.cancel(
            possible_id(job_id),
            tenant=tenant,
            version=version,
            retention_ms=int(self._settings.retention_s * 1000),
            keep_result_ms=int(self._settings.keep_result_s * 1000),
        )
        if answer.record is None:
            raise refusal_error(answer, job_id)
        return answer.record

    async def retry(
        self,
        job_id: str,
        *,
        payload_json: bytes | None = None,
        tenant: str | None = None,
        version: int | None = None,
        delay: timedelta | None = None,
    ) -> JobRecord:
        """Resubmit a finished job as a new job, with the same payload or another one, and return the new record.

        The old job stays as it is, names the new one in ``retried_as``, and is no longer a dead letter. In a batch the
        new job takes its place.

        Raises:
            JobNotFinished: The job has not ended yet.
            JobRetried: The job was retried before.
            JobChanged: The record's version is not ``version``.
            NotUnique: Another unfinished job has its unique key.
            JobNotFound: There is no such job, it is another tenant's, or its payload was not kept.
            InvalidPayload, UnknownKind: The other payload cannot be used.
        """
        written = b""
        if payload_json is not None:
            job = self.registry.find((await self.read(job_id, tenant=tenant)).kind)
            job.read_payload(payload_json)
            check_size(payload_json, self._settings)
            written = job.write_envelope(strict_json(payload_json), int(time() * 1000))
        answer = await self._store.retry(
            possible_id(job_id), new_id(), tenant=tenant, version=version, written=written, delay_ms=delay_ms(delay)
        )
        if answer.record is None:
            raise retry_error(answer, job_id)
        return answer.record

    async def ping(self) -> None:
        """Check that the store answers. Raises StoreUnavailable."""
        await self._store.ping()


@asynccontextmanager
async def open_queue(settings: Settings, registry: Registry) -> AsyncIterator[JobQueue]:
    """Open a ``JobQueue`` on ``settings.redis_url``. It connects on first use and is closed on exit."""
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set, and no embedded server was started")
    async with aclosing(open_redis(settings.redis_url.get_secret_value())) as redis:
        store = JobStore(redis)
        async with store.lanes():
            queue = JobQueue(store, registry, settings)
            try:
                yield queue
            finally:
                await queue.commits.close()
                await queue.feed.close()


def possible_id(job_id: str) -> str:
    """Return ``job_id`` if it is well formed. Raises JobNotFound."""
    if not keys.is_job_id(job_id):
        raise JobNotFound(f"There is no job {job_id[:128]}.")
    return job_id
