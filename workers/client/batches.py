"""Batches: many jobs submitted at once, and followed, cancelled and retried as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from arqway.workers.client.queue import JobQueue
from arqway.workers.client.submission import SubmitOptions, accepted_record, new_id, refusal_error
from arqway.workers.contract import keys
from arqway.workers.contract.errors import (
    ArqwayError,
    BatchNotFound,
    BatchRefused,
    InvalidSubmission,
    JobFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
)
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.store.jobs import Acceptance, BatchOpening, Idempotency, Refusal, Replay, Submission, SubmitAnswer
from arqway.workers.store.lists import BatchRecord, BatchStore

SIZE_MAX = 1_000
_AT_ONCE = 50


class BatchItem(NamedTuple):
    """One job to submit as part of a batch."""

    kind: str
    payload_json: bytes
    options: SubmitOptions


ItemOutcome = JobRecord | ArqwayError


class AcceptedBatch(NamedTuple):
    """The outcome of submitting a batch."""

    id: str
    outcomes: list[ItemOutcome]
    """For each item its record, or the error that says why it was refused; empty for a replay."""
    replay: Replay | None = None
    """The answer to an earlier request with the same idempotency key."""

    @property
    def accepted(self) -> int:
        """The number of items that became jobs."""
        return sum(isinstance(outcome, JobRecord) for outcome in self.outcomes)


class Batches:
    """Batches of one tenant.

    Args:
        queue: The client to submit with.
        tenant: The tenant that owns the batches.
    """

    def __init__(self, queue: JobQueue, tenant: str = keys.DEFAULT_TENANT) -> None:
        self._queue = queue
        self._store = BatchStore(queue.redis)
        self._tenant = tenant

    async def submit(
        self, items: Sequence[BatchItem], *, atomic: bool = False, idempotency: Idempotency | None = None
    ) -> AcceptedBatch:
        """Accept the jobs of a batch in one script: all or none if ``atomic``, otherwise each that can be accepted.

        Raises:
            BatchRefused: Some item of an atomic batch, or every item of any other batch, cannot be accepted.
            IdempotencyMismatch, IdempotencyHeld: As for ``JobQueue.submit_json``.
            StoreUnavailable: Redis is away. The batch as a whole may or may not have been accepted.
        """
        if not 1 <= len(items) <= SIZE_MAX:
            raise InvalidSubmission(f"A batch has 1 to {SIZE_MAX} jobs.")
        batch_id = new_id()
        prepared = [self._prepare(f"{batch_id}.{n}", batch_id, item) for n, item in enumerate(items)]
        ready = [item for item in prepared if isinstance(item, Submission)]
        if not ready or (atomic and len(ready) < len(items)):
            raise _refused(prepared)
        opening: BatchOpening = {"id": batch_id, "tenant": self._tenant, "atomic": atomic}
        if idempotency:
            opening["idempotency"] = idempotency
        answers = await self._queue.submit_batch(ready, opening)
        if len(answers) == 1 and isinstance(replay := answers[0], Replay):
            return AcceptedBatch(replay.id, [], replay)
        if len(answers) == 1 and isinstance(held := answers[0], Refusal) and held.reason in {"mismatch", "held"}:
            raise refusal_error(held, batch_id)
        answer_of = iter(answers)
        outcomes = [_outcome(item, next(answer_of)) if isinstance(item, Submission) else item for item in prepared]
        if not any(isinstance(outcome, JobRecord) for outcome in outcomes):
            raise _refused(outcomes)
        return AcceptedBatch(batch_id, [outcome for outcome in outcomes if outcome is not None])

    def _prepare(self, job_id: str, batch_id: str, item: BatchItem) -> Submission | ArqwayError:
        options: SubmitOptions = {**item.options, "job_id": job_id, "batch": batch_id, "tenant": self._tenant}
        try:
            return self._queue.prepare(item.kind, item.payload_json, options)
        except ArqwayError as error:
            return error

    async def read(self, batch_id: str) -> BatchRecord:
        """Return a snapshot of a batch. Raises BatchNotFound."""
        found = await self._store.read(batch_id) if keys.is_job_id(batch_id) else None
        if found is None or found.tenant != self._tenant:
            raise BatchNotFound
        return found

    async def jobs(self, batch_id: str) -> list[JobRecord]:
        """Return the records of a batch's jobs, in the order of the batch."""
        return await self._queue.read_many(await self._store.job_ids(batch_id))

    async def cancel(self, batch_id: str) -> int:
        """Cancel the unfinished jobs of a batch; return how many were cancelled or asked to stop."""
        await self.read(batch_id)
        return await act_on_each(await self._store.job_ids(batch_id), partial(self._queue.cancel, tenant=self._tenant))

    async def retry_failed(self, batch_id: str) -> int:
        """Resubmit the failed jobs of a batch, each once; return how many were resubmitted."""
        await self.read(batch_id)
        failed = [job.id for job in await self.jobs(batch_id) if job.state is JobState.FAILED]
        return await act_on_each(failed, partial(self._queue.retry, tenant=self._tenant))


def _refused(outcomes: Sequence[Submission | ItemOutcome | None]) -> BatchRefused:
    return BatchRefused(errors=[outcome if isinstance(outcome, ArqwayError) else None for outcome in outcomes])


def _outcome(submission: Submission, answer: SubmitAnswer) -> ItemOutcome | None:
    if isinstance(answer, Acceptance):
        return accepted_record(submission, answer)
    if isinstance(answer, Refusal) and answer.reason != "kept out":
        return refusal_error(answer, submission.id)
    return None


async def act_on_each(job_ids: Sequence[str], act: Callable[[str], Awaitable[object]]) -> int:
    """Cancel or retry each job, 50 at a time; return for how many that succeeded.

    A job that is gone, or no longer in a state that allows it, is skipped.
    """

    async def acted(job_id: str) -> bool:
        try:
            await act(job_id)
        except (JobFinished, JobNotFound, JobRetried, NotUnique):
            return False
        return True

    done = 0
    for i in range(0, len(job_ids), _AT_ONCE):
        done += sum(await asyncio.gather(*map(acted, job_ids[i : i + _AT_ONCE])))
    return done
