"""Outcomes of attempts and the settlements that follow from them: data and pure functions.

A failure has a code and a message that clients may see, and details for operators only.
"""

import json
import re
import traceback
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import DiscardJob, JobTimedOut, RetryJob
from arqway.workers.contract.record import Failure
from arqway.workers.contract.retry import RetryAfter, RetryPolicy
from arqway.workers.contract.states import EndReason, JobState
from arqway.workers.store.attempts import Claim, Rest, Settlement

_DETAIL_CHARS = 1_000
_TRACEBACK_CHARS = 4_000
_FINGERPRINT_DIGITS = 16
_FRAME = re.compile(r'^  File ".*?([^/\\"]+)", line \d+, in (.+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job returned a result."""

    result_json: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The job raised ``error``, ran out of time, or could not run at all."""

    failure: Failure
    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person cancelled the job, and it has ended or was abandoned."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker's shutdown ended the attempt, at no cost of an attempt."""


@dataclass(frozen=True, slots=True)
class Parked:
    """This worker does not know the kind; a newer one may."""

    delay_ms: int


Outcome = Succeeded | Failed | Cancelled | Interrupted | Parked


class Retention(NamedTuple):
    """How long the record and arq's result are kept after a job has ended."""

    record_ms: int
    arq_result_ms: int


def decide(
    claim: Claim, outcome: Outcome, *, policy: RetryPolicy, random: float, retention: Retention, ended_ms: int
) -> Settlement:
    """Return the settlement for ``outcome``; ``random``, uniform in [0, 1), adds jitter to a retry's delay."""

    def settle(
        state: JobState, arq_value: bytes = b"", result_json: bytes = b"", rest: Rest | None = None
    ) -> Settlement:
        kept = _arq_result(claim, state, arq_value, ended_ms) if arq_value and retention.arq_result_ms else b""
        keys_of = (claim.id, claim.token, claim.queue)
        return Settlement(*keys_of, state, retention.record_ms, result_json, kept, retention.arq_result_ms, rest)

    match outcome:
        case Succeeded(result_json):
            return settle(JobState.SUCCEEDED, result_json, result_json)
        case Failed(failure, error):
            failure = replace(failure, fingerprint=fingerprint_of(claim.kind, failure))
            event = json.dumps({"code": failure.code, "message": failure.message})
            rest: Rest = {"failure": failure.to_json(), "event": event}
            decision = policy.decide(error, claim.attempt, random)
            if isinstance(decision, RetryAfter) and not _is_late(claim, ended_ms + decision.delay_ms):
                return settle(JobState.RETRYING, rest={**rest, "delay": decision.delay_ms})
            rest["fingerprint"] = failure.fingerprint or ""
            return settle(JobState.FAILED, envelope.error_json(failure.code, failure.message), rest=rest)
        case Cancelled():
            return settle(JobState.CANCELLED, envelope.CANCELLED_JSON)
        case Interrupted():
            return settle(JobState.QUEUED, rest={"back": 1, "interrupts": 1})
        case Parked(delay_ms):
            return settle(JobState.QUEUED, rest={"back": 1, "delay": delay_ms})


def _is_late(claim: Claim, at_ms: int) -> bool:
    """Return whether an attempt at ``at_ms`` would start after the job's deadline."""
    return claim.deadline_ms is not None and at_ms >= claim.deadline_ms


def _arq_result(claim: Claim, state: JobState, value: bytes, ended_ms: int) -> bytes:
    return envelope.write_result(
        job_id=claim.id,
        kind=claim.kind,
        queue=keys.queue(claim.queue),
        attempt=claim.attempt,
        success=state is JobState.SUCCEEDED,
        value_json=value,
        created_ms=claim.created_ms,
        started_ms=claim.claimed_ms,
        ended_ms=ended_ms,
    )


def ended(reason: EndReason, limit_s: float) -> Outcome:
    """Return the outcome of an attempt that was ended for ``reason``."""
    match reason:
        case EndReason.TIMEOUT:
            message = f"The job did not finish within its time limit of {limit_s:g} s."
            return Failed(Failure("timeout", message), JobTimedOut(message))
        case EndReason.CANCEL:
            return Cancelled()
        case EndReason.INTERRUPT | EndReason.LOST:  # the token fences off a lost attempt's settlement
            return Interrupted()


def refused(code: str, message: str, detail: str | None = None) -> Failed:
    """Return the failure of a job that no further attempt could fix."""
    return Failed(Failure(code, message, detail=detail), DiscardJob(code, message))


def raised(error: BaseException) -> Failed:
    """Return the outcome of a job that raised ``error`` of its own accord."""
    if isinstance(error, DiscardJob):
        return Failed(Failure(clean(error.code), clean(error.message)), error)
    if isinstance(error, RetryJob) and error.code is not None:
        detail = None if error.__cause__ is None else text_of(error.__cause__)
        return Failed(Failure(clean(error.code), text_of(error), detail=detail), error)
    if isinstance(error, RetryJob):
        return Failed(Failure("retry_asked", "The job asked to be tried again.", detail=text_of(error)), error)
    kind = type(error)
    return Failed(
        Failure(
            "exception",
            "The job ended with an unexpected error.",
            error=f"{kind.__module__}.{kind.__qualname__}",
            detail=text_of(error),
            traceback=clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]),
        ),
        error,
    )


def fingerprint_of(kind: str, failure: Failure) -> str:
    """Return 16 hex digits, the same for failures of one kind of job, code and class of error, from one place.

    The place is the last frame's file and function, without the line, so that a change above it keeps the group whole.
    Neither the message nor the exception's text counts: they often hold an id.
    """
    frames = _FRAME.findall(failure.traceback or "")
    parts = (kind, failure.code, failure.error or "", *(frames[-1] if frames else ()))
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:_FINGERPRINT_DIGITS]


def text_of(error: BaseException) -> str:
    """Return the text of an exception, truncated. Safe even if its ``__str__`` raises."""
    try:
        return clean(str(error)[:_DETAIL_CHARS])
    except Exception:  # ``__str__`` may be user code
        return "(no text: its __str__ failed)"


def clean(text: str) -> str:
    """Replace lone surrogates, which cannot be encoded as UTF-8."""
    return text.encode(errors="replace").decode()
