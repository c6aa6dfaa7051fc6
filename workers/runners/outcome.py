"""Outcomes of attempts and the settlements that follow from them: data and pure functions.

A failure has a code and a message that clients may see, and details for operators only.
"""

import json
import traceback
from collections import deque
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf
from pathlib import PurePath
from typing import NamedTuple

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import DiscardJob, JobTimedOut, RetryJob
from arqway.workers.contract.record import Failure
from arqway.workers.contract.retry import RetryAfter, RetryPolicy, causes_of
from arqway.workers.contract.states import EndReason, JobState
from arqway.workers.store.attempts import Claim, Rest, Settlement

_DETAIL_CHARS = 1_000
_TRACEBACK_CHARS = 4_000
_FINGERPRINT_DIGITS = 16


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
    claim: Claim,
    outcome: Outcome,
    *,
    policy: RetryPolicy,
    random: float,
    retention: Retention,
    ended_ms: int,
    rest: Rest | None = None,
) -> Settlement:
    """Return the settlement for ``outcome``.

    Args:
        claim: The attempt's claim.
        outcome: What the attempt came to.
        policy: When a failed attempt is retried.
        random: Uniform in [0, 1); adds jitter to a retry's delay.
        retention: How long the record and arq's result are kept.
        ended_ms: When the attempt ended, by the server's clock.
        rest: What else the settlement writes.
    """
    rest, arq_value, result_json = rest or {}, b"", b""
    match outcome:
        case Succeeded(result_json):
            state, arq_value = JobState.SUCCEEDED, result_json
        case Failed(failure, error):
            failure = replace(failure, fingerprint=fingerprint_of(claim.kind, failure, error))
            event = json.dumps({"code": failure.code, "message": failure.message})
            rest = {**rest, "failure": failure.to_json(), "event": event}
            decision = policy.decide(error, claim.attempt, random)
            late_ms = claim.deadline_ms if claim.deadline_ms is not None else inf
            if isinstance(decision, RetryAfter) and ended_ms + decision.delay_ms < late_ms:
                state, rest["delay"] = JobState.RETRYING, decision.delay_ms
            else:
                state, rest["fingerprint"] = JobState.FAILED, failure.fingerprint or ""
                arq_value = envelope.error_json(failure.code, failure.message)
        case Cancelled():
            state, arq_value = JobState.CANCELLED, envelope.CANCELLED_JSON
        case Interrupted():
            state, rest = JobState.QUEUED, {**rest, "back": 1, "interrupts": 1}
        case Parked(delay_ms):
            state, rest = JobState.QUEUED, {**rest, "back": 1, "delay": delay_ms}
    record_ms, arq_result_ms = retention
    if arq_value and arq_result_ms:
        arq_value = envelope.write_result(
            job_id=claim.id,
            kind=claim.kind,
            queue=keys.queue(claim.queue),
            attempt=claim.attempt,
            success=state is JobState.SUCCEEDED,
            value_json=arq_value,
            created_ms=claim.created_ms,
            started_ms=claim.claimed_ms,
            ended_ms=ended_ms,
        )
    else:
        arq_value = b""
    return Settlement(
        claim.id, claim.token, claim.queue, state, record_ms, result_json, arq_value, arq_result_ms, rest or None
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
    causes = causes_of(error)
    if discard := next((cause for cause in causes if isinstance(cause, DiscardJob)), None):
        return Failed(Failure(clean(discard.code), clean(discard.message)), error)
    if retry := next((cause for cause in causes if isinstance(cause, RetryJob)), None):
        if retry.code is None:
            return Failed(Failure("retry_asked", "The job asked to be tried again.", detail=text_of(retry)), error)
        detail = None if retry.__cause__ is None else text_of(retry.__cause__)
        return Failed(Failure(clean(retry.code), text_of(retry), detail=detail), error)
    within = f" of {', '.join(sorted({_name(cause) for cause in causes}))}" if causes != [error] else ""
    return Failed(
        Failure(
            "exception",
            "The job ended with an unexpected error.",
            error=f"{_name(error)}{within}",
            detail=text_of(error),
            traceback=clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]),
        ),
        error,
    )


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def fingerprint_of(kind: str, failure: Failure, error: BaseException) -> str:
    """Return 16 hex digits, the same for failures of one kind of job, code and class of error, from one place.

    The place is the last frame's file and function, without the line, so that a change above it keeps the group whole;
    an exception group comes from the places of all its exceptions. Neither the message nor the exception's text counts:
    they often hold an id.
    """
    places: set[str] = set()
    for cause in causes_of(error) if failure.traceback else ():
        for frame, _ in deque(traceback.walk_tb(cause.__traceback__), maxlen=1):
            places.add(f"{PurePath(frame.f_code.co_filename).name}\0{frame.f_code.co_name}")
    parts = (kind, failure.code, failure.error or "", *sorted(places))
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
