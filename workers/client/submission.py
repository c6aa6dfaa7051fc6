"""The options of a job, and how it becomes a submission."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any, NamedTuple

from pydantic_core import from_json

from arqway.workers.client.ids import new_id
from arqway.workers.contract import keys
from arqway.workers.contract.callback import check_callback_url
from arqway.workers.contract.errors import (
    ArqwayError,
    CallbacksOff,
    DuplicateJob,
    IdempotencyHeld,
    IdempotencyMismatch,
    InvalidPayload,
    InvalidSubmission,
    JobChanged,
    JobFinished,
    JobNotFinished,
    JobNotFound,
    JobRetried,
    NotUnique,
    QueueNotAllowed,
)
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition, JobOptions
from arqway.workers.settings import Settings
from arqway.workers.store.jobs import (
    Acceptance,
    CancelAnswer,
    Extras,
    Idempotency,
    Refusal,
    Replay,
    RetryAnswer,
    Submission,
)

TAGS_MAX = 8
_ID_CHARS_WITH_CALLBACK = 110
"""The webhook delivery of such a job is itself a job, with a longer id."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_MS = 100 * 365 * 86_400_000


class SubmitOptions(JobOptions, total=False):
    """Options of a submission. Each may be omitted or None."""

    job_id: str | None
    """The caller's own id; random by default."""
    tenant: str | None
    """The tenant that owns the job; ``default`` if omitted."""
    batch: str | None
    idempotency: Idempotency | None


class Accepted(NamedTuple):
    """A job that was accepted, now or by an earlier request with the same idempotency key."""

    record: JobRecord
    """The job as it was accepted."""
    replay: Replay | None = None


def checked_callback(options: SubmitOptions, settings: Settings) -> SubmitOptions:
    """Return the options unchanged. Raises InvalidSubmission for a callback that the settings do not allow."""
    if (url := options.get("callback_url")) is not None:
        if not settings.webhook_secrets:
            raise CallbacksOff
        check_callback_url(url, settings.webhook_allow)
        if len(options.get("job_id") or "") > _ID_CHARS_WITH_CALLBACK:
            raise InvalidSubmission(
                f"The id of a job with a callback has {_ID_CHARS_WITH_CALLBACK} characters at most."
            )
    return options


def make_submission(job: JobDefinition[Any, Any], payload_json: bytes, options: SubmitOptions) -> Submission:
    """Return the submission for the store. Raises InvalidSubmission."""
    now_ms = int(time() * 1000)
    envelope = job.write_envelope(payload_json, now_ms)
    tries = job.retry.max_attempts
    if not options:
        return Submission(new_id(), job.kind, job.queue, envelope, tries)
    return Submission(
        id=_checked_id(options.get("job_id")),
        kind=job.kind,
        queue=_checked_queue(job, options.get("queue")),
        envelope=envelope,
        max_attempts=tries,
        run_at_ms=moment_ms("run_at", options.get("run_at")),
        delay_ms=delay_ms(options.get("delay")),
        tenant=_checked_tenant(options.get("tenant")),
        extras=_extras(options, now_ms) or None,
    )


def accepted_record(submission: Submission, accepted: Acceptance) -> JobRecord:
    """Return the initial record of an accepted job."""
    extras = submission.extras or {}
    return JobRecord(
        id=submission.id,
        kind=submission.kind,
        queue=submission.queue,
        state=JobState.SCHEDULED if accepted.due_ms > accepted.now_ms else JobState.QUEUED,
        max_attempts=submission.max_attempts,
        created_ms=accepted.now_ms,
        due_ms=accepted.due_ms,
        tenant=submission.tenant,
        batch=extras.get("batch"),
        tags=tuple(extras.get("tags", ())),
        unique_key=extras.get("unique_key"),
        deadline_ms=extras.get("deadline_ms"),
        callback_url=extras.get("callback_url"),
        extras=bool(extras),
    )


def strict_json(payload_json: bytes) -> bytes:
    """Return the JSON unchanged. Raises InvalidPayload for NaN and Infinity.

    Pydantic reads them, but they are not JSON, and other readers of the envelope would fail.
    """
    if b"NaN" in payload_json or b"Infinity" in payload_json:
        try:
            from_json(payload_json, allow_inf_nan=False)
        except ValueError:
            raise InvalidPayload("NaN and Infinity are not JSON.") from None
    return payload_json


def refusal_error(refusal: Refusal, job_id: str) -> ArqwayError:
    """Return the error that explains why a job was not accepted."""
    match refusal.reason:
        case "unique":
            return NotUnique(job_id=refusal.job_id)
        case "mismatch":
            return IdempotencyMismatch()
        case "held":
            return IdempotencyHeld(retry_after_s=max(1, -(-refusal.wait_ms // 1000)))
    return DuplicateJob(f"A job with the id {job_id} exists already.")


def cancel_error(answer: CancelAnswer, job_id: str) -> ArqwayError:
    """Return the error that explains why a job was not cancelled."""
    match answer.reason:
        case "finished":
            return JobFinished(f"Job {job_id} has finished already.")
        case "changed":
            return JobChanged()
    return JobNotFound(f"There is no job {job_id}.")


def retry_error(answer: RetryAnswer, job_id: str) -> ArqwayError:
    """Return the error that explains why a finished job was not resubmitted."""
    match answer.reason:
        case "live":
            return JobNotFinished(f"Job {job_id} has not finished yet.")
        case "changed":
            return JobChanged()
        case "retried" | "duplicate":
            return JobRetried(job_id=answer.job_id)
        case "unique":
            return NotUnique(job_id=answer.job_id)
    return JobNotFound(f"There is no job {job_id}, or what it was given is gone.")


def delay_ms(delay: timedelta | None) -> int:
    """Return a delay in milliseconds. Raises InvalidSubmission."""
    milliseconds = 0 if delay is None else delay // timedelta(milliseconds=1)
    if not 0 <= milliseconds <= _FOREVER_MS:
        raise InvalidSubmission("A delay is between 0 and 100 years.")
    return milliseconds


def moment_ms(name: str, moment: datetime | None) -> int:
    """Return a moment as Unix milliseconds; 0 for None. Raises InvalidSubmission."""
    if moment is None:
        return 0
    if moment.tzinfo is None:
        raise InvalidSubmission(f"{name} needs a time zone.")
    return max(1, (moment - _EPOCH) // timedelta(milliseconds=1))  # exact, unlike timestamp()


def _checked_id(job_id: str | None) -> str:
    if job_id is None:
        return new_id()
    if not keys.is_job_id(job_id):
        raise InvalidSubmission("A job id is 1 to 128 characters of A-Z a-z 0-9 _ . : ~ -")
    return job_id


def _checked_queue(job: JobDefinition[Any, Any], queue: str | None) -> str:
    if queue is None or queue == job.queue:
        return job.queue
    if queue not in job.other_queues:
        raise QueueNotAllowed(f"Jobs of the kind {job.kind} go to: {', '.join((job.queue, *job.other_queues))}.")
    return queue


def _checked_tenant(tenant: str | None) -> str:
    if tenant is None:
        return keys.DEFAULT_TENANT
    if not keys.is_tenant_name(tenant):
        raise InvalidSubmission("A tenant is named by 1 to 63 of a-z 0-9 _ -")
    return tenant


def _extras(options: SubmitOptions, now_ms: int) -> Extras:
    extras: Extras = {}
    if batch := options.get("batch"):
        extras["batch"] = batch
    if tags := options.get("tags"):
        extras["tags"] = _checked_tags(tags)
    if (unique_key := options.get("unique_key")) is not None:
        extras["unique_key"] = _checked_word("unique_key", unique_key)
    if (deadline := options.get("deadline")) is not None:
        extras["deadline_ms"] = _checked_deadline(deadline, options, now_ms)
    if (callback_url := options.get("callback_url")) is not None:
        extras["callback_url"] = callback_url
    if idempotency := options.get("idempotency"):
        extras["idempotency"] = idempotency
    return extras


def _checked_tags(tags: Sequence[str]) -> list[str]:
    if len(tags) > TAGS_MAX:
        raise InvalidSubmission(f"A job has up to {TAGS_MAX} tags.")
    return list(dict.fromkeys(_checked_word("A tag", tag) for tag in tags))


def _checked_word(name: str, word: str) -> str:
    if not keys.is_word(word):
        raise InvalidSubmission(f"{name} is 1 to 128 of A-Z a-z 0-9 _ . : / @ + ~ -, a letter or digit first.")
    return word


def _checked_deadline(deadline: datetime, options: SubmitOptions, now_ms: int) -> int:
    deadline_ms = moment_ms("deadline", deadline)
    due_ms = moment_ms("run_at", options.get("run_at")) or now_ms + delay_ms(options.get("delay"))
    if deadline_ms <= due_ms:
        raise InvalidSubmission("The deadline is not later than the job's start.")
    return deadline_ms
