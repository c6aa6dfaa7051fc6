"""The options of a job, how it becomes a submission, and what the store's refusals mean."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from time import time
from typing import Any, NamedTuple

from pydantic_core import from_json

from arqway.workers.contract import errors, keys
from arqway.workers.contract.callback import check_callback_url
from arqway.workers.contract.errors import InvalidSubmission
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.definition import JobDefinition, JobOptions
from arqway.workers.settings import Settings
from arqway.workers.store.batcher import MAX_BYTES
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
_PORTION = 500
_ID_CHARS_WITH_CALLBACK = 110
"""The webhook delivery of such a job is itself a job, with a longer id."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_MS = 100 * 365 * 86_400_000
_ID_BYTES, _IDS_AT_ONCE = 16, 256

_unused_ids: list[str] = []
os.register_at_fork(after_in_child=_unused_ids.clear)  # or parent and child would hand out the same ids


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


def new_id() -> str:
    """Return an id that was never used before: 128 random bits as 32 hexadecimal digits.

    Random bytes for many ids are requested at a time: each request to the system takes half as long as a submission.
    """
    try:
        return _unused_ids.pop()
    except IndexError:
        digits = token_bytes(_ID_BYTES * _IDS_AT_ONCE).hex()
        first, *others = (digits[i : i + 2 * _ID_BYTES] for i in range(0, len(digits), 2 * _ID_BYTES))
        _unused_ids.extend(others)
        return first


def check_size(payload_json: bytes, settings: Settings) -> None:
    """Raise InvalidPayload if the payload is larger than ``ARQWAY_MAX_PAYLOAD_BYTES``."""
    if len(payload_json) > (most := settings.max_payload_bytes):
        raise errors.InvalidPayload(f"The payload has {len(payload_json):,} bytes as JSON; the limit is {most:,}.")


def portions(jobs: Iterable[Submission]) -> Iterator[list[Submission]]:
    """Divide jobs into as many script calls as keep Redis from blocking others for longer than about 10 ms."""
    portion: list[Submission] = []
    size = 0
    for job in jobs:
        size += job.size()
        if portion and (len(portion) == _PORTION or size > MAX_BYTES):
            yield portion
            portion, size = [], job.size()
        portion.append(job)
    if portion:
        yield portion


def make_submission(
    job: JobDefinition[Any, Any], payload_json: bytes, options: SubmitOptions, settings: Settings
) -> Submission:
    """Return the submission of an already validated payload. Raises InvalidSubmission for an invalid option or size."""
    check_size(payload_json, settings)
    now_ms = int(time() * 1000)
    if not options:
        envelope = job.write_envelope(payload_json, now_ms)
        return Submission(new_id(), job.kind, job.queue, envelope, job.retry.max_attempts)
    if (job_id := options.get("job_id")) is None:
        job_id = new_id()
    elif not keys.is_job_id(job_id):
        raise InvalidSubmission("A job id is 1 to 128 characters of A-Z a-z 0-9 _ . : ~ -")
    if (queue := options.get("queue")) is None:
        queue = job.queue
    elif queue != job.queue and queue not in job.other_queues:
        allowed = ", ".join((job.queue, *job.other_queues))
        raise errors.QueueNotAllowed(f"Jobs of the kind {job.kind} go to: {allowed}.")
    if (tenant := options.get("tenant")) is None:
        tenant = keys.DEFAULT_TENANT
    elif not keys.is_tenant_name(tenant):
        raise InvalidSubmission("A tenant is named by 1 to 63 of a-z 0-9 _ -")
    run_at_ms, wait_ms = moment_ms("run_at", options.get("run_at")), delay_ms(options.get("delay"))
    extras = _extras(options, run_at_ms or now_ms + wait_ms, settings)
    envelope = job.write_envelope(payload_json, now_ms)
    return Submission(
        job_id, job.kind, queue, envelope, job.retry.max_attempts, run_at_ms, wait_ms, tenant, extras or None
    )


def _extras(options: SubmitOptions, due_ms: int, settings: Settings) -> Extras:
    extras: Extras = {}
    if batch := options.get("batch"):
        extras["batch"] = batch
    if tags := options.get("tags"):
        extras["tags"] = _checked_tags(tags)
    if (unique_key := options.get("unique_key")) is not None:
        extras["unique_key"] = _word("unique_key", unique_key)
    if (deadline := options.get("deadline")) is not None:
        extras["deadline_ms"] = moment_ms("deadline", deadline)
        if extras["deadline_ms"] <= due_ms:
            raise InvalidSubmission("The deadline is not later than the job's start.")
    if (url := options.get("callback_url")) is not None:
        _check_callback(url, options.get("job_id") or "", settings)
        extras["callback_url"] = url
    if idempotency := options.get("idempotency"):
        extras["idempotency"] = idempotency
    return extras


def _checked_tags(tags: Sequence[str]) -> list[str]:
    if len(tags) > TAGS_MAX:
        raise InvalidSubmission(f"A job has up to {TAGS_MAX} tags.")
    return list(dict.fromkeys(_word("A tag", tag) for tag in tags))


def _check_callback(url: str, job_id: str, settings: Settings) -> None:
    if not settings.webhook_secrets:
        raise errors.CallbacksOff
    check_callback_url(url, settings.webhook_allow)
    if len(job_id) > _ID_CHARS_WITH_CALLBACK:
        raise InvalidSubmission(f"The id of a job with a callback has {_ID_CHARS_WITH_CALLBACK} characters at most.")


def _word(name: str, word: str) -> str:
    if not keys.is_word(word):
        raise InvalidSubmission(f"{name} is 1 to 128 of A-Z a-z 0-9 _ . : / @ + ~ -, a letter or digit first.")
    return word


def delay_ms(delay: timedelta | None) -> int:
    """Return a delay in milliseconds; 0 for None. Raises InvalidSubmission."""
    if delay is None:
        return 0
    milliseconds = delay // timedelta(milliseconds=1)
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


def strict_json(payload_json: bytes) -> bytes:
    """Return the JSON unchanged. Raises InvalidPayload for NaN and Infinity.

    Pydantic reads them, but they are not JSON, and other readers of the envelope would fail.
    """
    if b"NaN" in payload_json or b"Infinity" in payload_json:
        try:
            from_json(payload_json, allow_inf_nan=False)
        except ValueError:
            raise errors.InvalidPayload("NaN and Infinity are not JSON.") from None
    return payload_json


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


def refusal_error(answer: Refusal | CancelAnswer, job_id: str) -> errors.ArqwayError:
    """Return the error that explains why a job was not accepted or not cancelled."""
    match answer:
        case Refusal(reason="mismatch"):
            return errors.IdempotencyMismatch()
        case Refusal(reason="held"):
            return errors.IdempotencyHeld(retry_after_s=max(1, -(-answer.wait_ms // 1000)))
        case Refusal(reason="unique"):
            return errors.NotUnique(job_id=answer.job_id)
        case Refusal():
            return errors.DuplicateJob(f"A job with the id {job_id} exists already.")
        case CancelAnswer(reason="finished"):
            return errors.JobFinished(f"Job {job_id} has finished already.")
        case CancelAnswer(reason="changed"):
            return errors.JobChanged()
    return errors.JobNotFound(f"There is no job {job_id}.")


def retry_error(answer: RetryAnswer, job_id: str) -> errors.ArqwayError:
    """Return the error that explains why a job was not retried."""
    match answer.reason:
        case "live":
            return errors.JobNotFinished(f"Job {job_id} has not finished yet.")
        case "changed":
            return errors.JobChanged()
        case "retried" | "duplicate":
            return errors.JobRetried(job_id=answer.job_id)
        case "unique":
            return errors.NotUnique(job_id=answer.job_id)
    return errors.JobNotFound(f"There is no job {job_id}, or its payload is no longer kept.")
