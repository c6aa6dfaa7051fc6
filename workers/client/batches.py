"""Batches: many jobs submitted at once, and followed, cancelled and retried as one."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple

from arqway.workers.client.ids import new_id
from arqway.workers.client.queue import JobQueue
from arqway.workers.client.submission import SubmitOptions, accepted_record, make_submission, refusal_error, strict_json
from arqway.workers.contract import keys
from arqway.workers.contract.errors import (
    ArqwayError,
    BatchNotFound,
    BatchRefused,
    IdempotencyHeld,
    IdempotencyMismatch,
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

Act = Callable[[str], Coroutine[None, None, bool]]


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
            raise BatchRefused(errors=[item if isinstance(item, ArqwayError) else None for item in prepared])
        opening: BatchOpening = {"id": batch_id, "tenant": self._tenant, "atomic": atomic}
        if idempotency:
            opening["idempotency"] = idempotency
        answers = await self._queue.submit_batch(ready, opening)
        if len(answers) == 1 and (known := _known(answers[0])):
            return known
        return _outcome(batch_id, prepared, answers)

    def _prepare(self, job_id: str, batch_id: str, item: BatchItem) -> Submission | ArqwayError:
        try:
            job = self._queue.registry.find(item.kind)
            job.read_payload(item.payload_json)
            options: SubmitOptions = {**item.options, "job_id": job_id, "batch": batch_id, "tenant": self._tenant}
            return make_submission(job, strict_json(item.payload_json), self._queue.checked(options))
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
        return await self._each(await self._store.job_ids(batch_id), self._cancel)

    async def retry_failed(self, batch_id: str) -> int:
        """Resubmit the failed jobs of a batch, each once; return how many were resubmitted."""
        await self.read(batch_id)
        jobs = await self.jobs(batch_id)
        return await self._each([job.id for job in jobs if job.state is JobState.FAILED], self._retry)

    async def _each(self, ids: Sequence[str], act: Act) -> int:
        done = 0
        for i in range(0, len(ids), _AT_ONCE):
            done += sum(await asyncio.gather(*map(act, ids[i : i + _AT_ONCE])))
        return done

    async def _cancel(self, job_id: str) -> bool:
        try:
            await self._queue.cancel(job_id, tenant=self._tenant)
        except (JobFinished, JobNotFound):
            return False
        return True

    async def _retry(self, job_id: str) -> bool:
        try:
            await self._queue.retry(job_id, tenant=self._tenant)
        except (JobNotFound, JobRetried, NotUnique):
            return False
        return True


def _known(answer: SubmitAnswer) -> AcceptedBatch | None:
    """Return the replay for the batch's idempotency key, if there is one. Raises the error of a refused key."""
    match answer:
        case Replay():
            return AcceptedBatch(answer.id, [], answer)
        case Refusal(reason="mismatch"):
            raise IdempotencyMismatch
        case Refusal(reason="held"):
            raise IdempotencyHeld(retry_after_s=max(1, -(-answer.wait_ms // 1000)))
    return None


def _outcome(
    batch_id: str, prepared: Sequence[Submission | ArqwayError], answers: Sequence[SubmitAnswer]
) -> AcceptedBatch:
    answer_of = iter(answers)
    outcomes = [_settled(item, next(answer_of)) if isinstance(item, Submission) else item for item in prepared]
    if not any(isinstance(outcome, JobRecord) for outcome in outcomes):
        raise BatchRefused(errors=[outcome if isinstance(outcome, ArqwayError) else None for outcome in outcomes])
    return AcceptedBatch(batch_id, [outcome for outcome in outcomes if outcome is not None])


def _settled(submission: Submission, answer: SubmitAnswer) -> ItemOutcome | None:
    if isinstance(answer, Acceptance):
        return accepted_record(submission, answer)
    if isinstance(answer, Refusal) and answer.reason != "kept out":
        return refusal_error(answer, submission.id)
    return None
