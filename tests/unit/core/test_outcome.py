"""What follows from the way an attempt ended: one write, always a legal one."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract import envelope
from arqway.workers.contract.errors import DiscardJob, JobTimedOut, RetryJob
from arqway.workers.contract.record import Failure
from arqway.workers.contract.retry import NO_RETRY, RetryPolicy
from arqway.workers.contract.states import TERMINAL_STATES, TRANSITIONS, JobState
from arqway.workers.runners.outcome import (
    Cancelled,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retention,
    Succeeded,
    decide,
    raised,
)
from arqway.workers.store.attempts import Claim, Settlement

SECRET = "text of an exception"  # noqa: S105 - stands for whatever an exception may say
KEPT = Retention(record_ms=9_000, arq_result_ms=700)
POLICY = RetryPolicy(max_attempts=3, on=(ValueError,), base=timedelta(seconds=8), cap=timedelta(seconds=10))
FAILURE = Failure("code", "message", error="builtins.ValueError", detail=SECRET, traceback=SECRET)

S = JobState


def claim(attempt: int = 1) -> Claim:
    """Return a claimed job."""
    return Claim("id", "token", "kind", attempt, 0, 3, 100, 200, False, b"", "reports", 300)


def after(outcome: Outcome, *, attempt: int = 1, random: float = 0.5, retention: Retention = KEPT) -> Settlement:
    """Return the write that follows from ``outcome``."""
    return decide(claim(attempt), outcome, policy=POLICY, random=random, retention=retention, ended_ms=400)


def told(settlement: Settlement) -> object:
    """Return what a stock arq client reads; None where there is nothing to read."""
    return repr(envelope.decode(settlement.arq_result)["r"]) if settlement.arq_result else None


@pytest.mark.parametrize(
    ("outcome", "attempt", "state", "delay_ms", "attempts_back", "interrupts", "arq_reads"),
    [
        (Succeeded(b"[1]"), 1, S.SUCCEEDED, 0, 0, 0, "[1]"),
        (Failed(FAILURE, ValueError()), 1, S.RETRYING, 4_000, 0, 0, None),
        (Failed(FAILURE, ValueError()), 2, S.RETRYING, 5_000, 0, 0, None),
        (Failed(FAILURE, ValueError()), 3, S.FAILED, 0, 0, 0, "JobFailed('message (code)')"),
        (Failed(FAILURE, KeyError()), 1, S.FAILED, 0, 0, 0, "JobFailed('message (code)')"),
        (Failed(FAILURE, JobTimedOut()), 1, S.FAILED, 0, 0, 0, "JobFailed('message (code)')"),
        (Failed(FAILURE, RetryJob(after=timedelta(hours=1))), 2, S.RETRYING, 3_600_000, 0, 0, None),
        (Failed(FAILURE, RetryJob()), 3, S.FAILED, 0, 0, 0, "JobFailed('message (code)')"),
        (Failed(FAILURE, DiscardJob("c", "m")), 1, S.FAILED, 0, 0, 0, "JobFailed('message (code)')"),
        (Cancelled(), 1, S.CANCELLED, 0, 0, 0, "CancelledError('The job was cancelled.')"),
        (Interrupted(), 1, S.QUEUED, 0, 1, 1, None),
        (Interrupted(), 3, S.QUEUED, 0, 1, 1, None),
        (Parked(5_000), 1, S.QUEUED, 5_000, 1, 0, None),
    ],
)
def test_what_follows(
    outcome: Outcome,
    attempt: int,
    state: JobState,
    delay_ms: int,
    attempts_back: int,
    interrupts: int,
    arq_reads: str | None,
) -> None:
    """The table of outcomes: the next state, when, at what cost, and what a stock client is told."""
    settlement = after(outcome, attempt=attempt)
    rest = settlement.rest or {}
    assert (settlement.state, rest.get("delay", 0)) == (state, delay_ms)
    assert (rest.get("back", 0), rest.get("interrupts", 0)) == (attempts_back, interrupts)
    assert told(settlement) == arq_reads


any_text = st.text() | st.text(st.sampled_from("a\0\n\udce9"))  # half a pair too: an odd file name
failures = st.builds(Failure, any_text, any_text, st.none() | any_text, st.none() | any_text, st.none() | any_text)
errors = st.sampled_from([ValueError(), KeyError(), RetryJob(), DiscardJob("c", "m"), JobTimedOut(), SystemExit()])
outcomes = (
    st.builds(Succeeded, st.sampled_from([b"null", b"[1]", b'"\\u0000"']))
    | st.builds(Failed, failures, errors)
    | st.builds(Parked, st.integers(0, 10**9))
    | st.sampled_from([Cancelled(), Interrupted()])
)
luck = st.floats(0, 1, exclude_max=True)


@given(outcomes, st.integers(1, 10**6), luck)
def test_every_outcome_is_a_legal_move(outcome: Outcome, attempt: int, random: float) -> None:
    """Whatever happened, the job may move there from running, and the write is fenced by the attempt's token."""
    settlement = after(outcome, attempt=attempt, random=random)
    assert settlement.state in TRANSITIONS[JobState.RUNNING]
    assert (settlement.id, settlement.token, settlement.queue) == ("id", "token", "reports")


@given(outcomes, st.integers(1, 5), luck)
def test_only_what_runs_again_gives_attempts_back(outcome: Outcome, attempt: int, random: float) -> None:
    """An attempt is given back once at most, and only where nobody's code failed."""
    settlement = after(outcome, attempt=attempt, random=random)
    rest = settlement.rest or {}
    assert rest.get("back", 0) == isinstance(outcome, Interrupted | Parked)
    assert "delay" not in rest or settlement.state not in TERMINAL_STATES


@given(outcomes, st.integers(1, 5), luck)
def test_stock_clients_hear_of_ends_only(outcome: Outcome, attempt: int, random: float) -> None:
    """There is a result for arq if and only if the job has ended and results are kept at all."""
    ended = after(outcome, attempt=attempt, random=random)
    assert bool(ended.arq_result) == (ended.state in TERMINAL_STATES)
    assert not after(outcome, attempt=attempt, random=random, retention=Retention(9_000, 0)).arq_result


@given(st.builds(Failure, any_text, any_text, st.just(SECRET), st.just(SECRET), st.just(SECRET)), errors, luck)
def test_the_text_of_an_exception_stays_with_operators(failure: Failure, error: Exception, random: float) -> None:
    """Events and arq's results, which clients read, hold the code and the message and nothing else of a failure."""
    settlement = after(Failed(failure, error), random=random)
    rest = settlement.rest or {}
    assert SECRET not in rest["event"] + settlement.arq_result.decode()
    assert json.loads(rest["event"]) == {"code": failure.code, "message": failure.message}
    kept = Failure.from_json(rest["failure"])
    assert replace(kept, fingerprint=None) == failure
    assert (kept.fingerprint or "") not in (SECRET, "")


@given(st.integers(1, 5), luck, st.integers(300, 20_000))
def test_no_retry_begins_after_the_deadline(attempt: int, random: float, deadline_ms: int) -> None:
    """A failed job whose next attempt would begin at or after its deadline has failed; else the policy decides."""
    late = claim(attempt)._replace(deadline_ms=deadline_ms)
    outcome, free = Failed(FAILURE, ValueError()), after(Failed(FAILURE, ValueError()), attempt=attempt, random=random)
    ended = decide(late, outcome, policy=POLICY, random=random, retention=KEPT, ended_ms=400)
    in_time = free.state is S.RETRYING and 400 + (free.rest or {})["delay"] < deadline_ms
    assert ended.state is (S.RETRYING if in_time else S.FAILED)


@pytest.mark.parametrize("outcome", [Succeeded(b"1"), Cancelled(), Interrupted(), Parked(1)])
def test_what_did_not_fail_has_no_failure(outcome: Outcome) -> None:
    """Only a failed attempt writes a failure."""
    assert not {"failure", "event"} & set(after(outcome).rest or {})


def test_a_result_is_stored_as_the_job_gave_it() -> None:
    """Only success has a result, byte for byte."""
    assert after(Succeeded(b'{"a": 1}')).result_json == b'{"a": 1}'
    assert not after(Cancelled()).result_json
    assert not after(Failed(FAILURE, KeyError())).result_json


def test_things_are_kept_as_long_as_the_settings_say() -> None:
    """Both retention times are handed on."""
    settlement = after(Cancelled())
    assert (settlement.retention_ms, settlement.keep_result_ms) == (9_000, 700)


def test_a_stock_client_is_told_when_and_where() -> None:
    """The result for arq names the job, its queue and the attempt, with the times of this run."""
    found = envelope.decode(after(Succeeded(b"1"), attempt=2).arq_result)
    assert (found["id"], found["f"], found["q"], found["t"], found["s"]) == ("id", "kind", "arq:queue:reports", 2, True)
    assert (found["et"], found["st"], found["ft"]) == (100, 300, 400)


def test_without_a_policy_a_failure_is_final() -> None:
    """A job of an unknown kind has no policy of its own, and is not tried again."""
    failed = Failed(FAILURE, RetryJob())
    settlement = decide(claim(), failed, policy=NO_RETRY, random=0.5, retention=KEPT, ended_ms=400)
    assert settlement.state is JobState.FAILED


def one_place(error: Exception) -> None:
    """Raise the error here."""
    raise error


def other_place(error: Exception) -> None:
    """Raise the error there."""
    raise error


def thrown(*errors: Exception, place: Callable[[Exception], None] = one_place) -> BaseException:
    """Return the exception group that a task group raises for these errors."""

    async def fail(error: Exception) -> None:
        place(error)

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            for error in errors:
                tasks.create_task(fail(error))

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(group())
    return caught.value


def test_what_is_asked_within_a_group_is_what_clients_are_told() -> None:
    """The code of a DiscardJob or RetryJob is that of the failure, wherever in the group it is."""
    assert raised(thrown(ValueError(), DiscardJob("no_customer", "There is none."))).failure.code == "no_customer"
    assert raised(thrown(RetryJob("m", code="busy"), KeyError())).failure.code == "busy"
    assert raised(thrown(RetryJob("m"))).failure.code == "retry_asked"


def test_groups_of_different_causes_have_different_fingerprints() -> None:
    """And groups of the same causes have the same one, in any order and with any texts."""
    groups = [
        thrown(ValueError("1"), KeyError("k")),
        thrown(KeyError("j"), ValueError("2")),
        thrown(ValueError("1")),
        thrown(ValueError("1"), place=other_place),
        thrown(OSError("x")),
    ]
    prints = [(after(raised(group), attempt=3).rest or {})["fingerprint"] for group in groups]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4
