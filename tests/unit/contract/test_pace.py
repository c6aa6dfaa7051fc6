"""When to ask again: never at once, never in ages, and not before there can be an answer."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import TERMINAL_STATES, JobState
from arqway.workers.contract.view import retry_after_s

NOW_MS = 1_700_000_000_000
moments = st.integers(NOW_MS - 10**9, NOW_MS + 10**9)
live = st.sampled_from(sorted(set(JobState) - TERMINAL_STATES))
durations = st.floats(0, 10**9)


def record(state: JobState, *, due_ms: int = NOW_MS, started_ms: int | None = None) -> JobRecord:
    """Return a job."""
    return JobRecord(id="j", kind="k", queue="q", state=state, created_ms=NOW_MS, due_ms=due_ms, started_ms=started_ms)


@given(live, moments, st.none() | moments, durations, durations)
def test_a_live_job_is_asked_for_within_a_minute(
    state: JobState, due_ms: int, started_ms: int | None, age_ms: float, run_ms: float
) -> None:
    """Whatever the figures, the answer is a whole number of seconds from 1 to 60."""
    job = record(state, due_ms=due_ms, started_ms=started_ms)
    seconds = retry_after_s(job, NOW_MS, queue_age_ms=age_ms, run_ms=run_ms)
    assert type(seconds) is int
    assert 1 <= seconds <= 60


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_a_final_job_is_not_asked_for(state: JobState) -> None:
    """For a job that has ended there is nothing to come."""
    assert retry_after_s(record(state), NOW_MS, queue_age_ms=inf, run_ms=inf) is None


@given(live, moments, durations, durations, st.floats(0, 10**6))
def test_more_to_do_never_means_to_ask_sooner(
    state: JobState, due_ms: int, age_ms: float, run_ms: float, more_ms: float
) -> None:
    """A longer wait in the queue, or a longer run, never shortens the answer."""
    job = record(state, due_ms=due_ms, started_ms=NOW_MS)
    seconds = retry_after_s(job, NOW_MS, queue_age_ms=age_ms, run_ms=run_ms)
    assert seconds is not None
    assert (retry_after_s(job, NOW_MS, queue_age_ms=age_ms + more_ms, run_ms=run_ms) or 0) >= seconds
    assert (retry_after_s(job, NOW_MS, queue_age_ms=age_ms, run_ms=run_ms + more_ms) or 0) >= seconds


@pytest.mark.parametrize(
    ("job", "age_ms", "run_ms", "seconds"),
    [
        (record(JobState.QUEUED), 0, 0, 1),
        (record(JobState.QUEUED), 4_000, 2_500, 7),
        (record(JobState.QUEUED, due_ms=NOW_MS - 3_000), 4_000, 2_500, 4),
        (record(JobState.QUEUED, due_ms=NOW_MS - 9_000), 4_000, 0, 1),
        (record(JobState.SCHEDULED, due_ms=NOW_MS + 20_000), 4_000, 2_500, 23),
        (record(JobState.RETRYING, due_ms=NOW_MS + 20_000), 0, 0, 20),
        (record(JobState.RUNNING, started_ms=NOW_MS - 2_000), 9_000, 10_000, 8),
        (record(JobState.RUNNING, started_ms=NOW_MS - 20_000), 9_000, 10_000, 1),
        (record(JobState.SCHEDULED, due_ms=NOW_MS + 3_600_000), 0, 0, 60),
    ],
)
def test_the_answer_is_when_it_may_have_ended(job: JobRecord, age_ms: float, run_ms: float, seconds: int) -> None:
    """What is left of the wait, and then the run; of a running job what is left of its run."""
    assert retry_after_s(job, NOW_MS, queue_age_ms=age_ms, run_ms=run_ms) == seconds
