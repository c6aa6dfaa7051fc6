"""How an attempt ended, and what follows from it: data and a pure function."""

import json
from dataclasses import dataclass, replace
from typing import NamedTuple

from workers.contract import envelope, keys
from workers.contract.fingerprint import fingerprint_of
from workers.contract.record import Failure
from workers.contract.retry import RetryAfter, RetryPolicy
from workers.contract.states import JobState
from workers.entries import Claim, Rest, Settlement


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job returned."""

    result_json: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The job raised ``error``, ran out of time, or could not run at all."""

    failure: Failure
    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person asked for it, and the job has ended or was given up on."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Our shutdown ended the attempt; it costs nothing."""


@dataclass(frozen=True, slots=True)
class Parked:
    """This worker does not know the kind; a newer one may."""

    delay_ms: int


Outcome = Succeeded | Failed | Cancelled | Interrupted | Parked


class Retention(NamedTuple):
    """How long things are kept after the end of a job."""

    record_ms: int
    arq_result_ms: int


def decide(
    claim: Claim, outcome: Outcome, *, policy: RetryPolicy, random: float, retention: Retention, ended_ms: int
) -> Settlement:
    """Return the one write that follows from ``outcome``; ``random``, uniform in [0, 1), jitters a retry's delay."""

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
            told = json.dumps({"code": failure.code, "message": failure.message})
            rest: Rest = {"failure": failure.to_json(), "event": told}
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
    """Tell whether an attempt at ``at_ms`` would begin after the job's deadline."""
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
