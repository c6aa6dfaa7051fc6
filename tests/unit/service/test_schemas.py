"""Views are pure functions of a job's record."""

from dataclasses import replace

import pytest

from arqway.service.shapes.reports import report_view
from arqway.workers.contract.record import Failure, JobRecord, Progress
from arqway.workers.contract.states import JobState
from arqway.workers.contract.view import job_view, retry_after_s, timestamp

RESULT = '{"user_id": 123, "report_url": "/reports/j1/file", "object_name": "123/v1.pdf", "pages": 2}'
PROGRESS = Progress(2, 5, "Summarised")
FAILURE = Failure("timeout", "It took too long.", "builtins.TimeoutError", "detail-secret", "traceback-secret")


def record(state: JobState, **parts: object) -> JobRecord:
    """Return a record in ``state``."""
    whole = JobRecord(id="j1", kind="report.generate", queue="default", state=state, created_ms=0, due_ms=0)
    return replace(whole, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", JobState)
def test_each_state_has_the_tutorials_word_and_only_the_parts_that_belong_to_it(state: JobState) -> None:
    """A record that holds progress, result and failure at once shows only the part of its state."""
    expected: dict[JobState, dict[str, object]] = {
        JobState.SCHEDULED: {"state": "PENDING"},
        JobState.QUEUED: {"state": "PENDING"},
        JobState.RUNNING: {"state": "PROGRESS", "progress": {"current": 2, "total": 5, "message": "Summarised"}},
        JobState.RETRYING: {"state": "RETRY"},
        JobState.SUCCEEDED: {
            "state": "SUCCESS",
            "result": {"user_id": 123, "report_url": "https://x.test/reports/j1/file"},
        },
        JobState.FAILED: {"state": "FAILURE", "error": "It took too long."},
        JobState.CANCELLED: {"state": "REVOKED"},
    }
    full = record(state, progress=PROGRESS, result_json=RESULT, failure=FAILURE)

    assert report_view(full, "https://x.test/") == {"task_id": "j1", **expected[state]}


def test_a_running_report_without_progress_has_started() -> None:
    """Running without progress is STARTED, and has no key for the progress."""
    assert report_view(record(JobState.RUNNING), "http://x") == {"task_id": "j1", "state": "STARTED"}


@pytest.mark.parametrize("state", JobState)
def test_a_view_never_holds_what_is_for_operators(state: JobState) -> None:
    """Neither view holds the class, the text or the traceback of an exception, nor the worker."""
    full = record(state, progress=PROGRESS, result_json=RESULT, failure=FAILURE, worker="worker-secret")

    shown = f"{job_view(full)} {report_view(full, 'http://x')}"

    assert "secret" not in shown
    assert "builtins" not in shown


@pytest.mark.parametrize("state", JobState)
def test_parts_that_do_not_apply_are_absent(state: JobState) -> None:
    """No view of a bare record has a null in it."""
    bare = record(state, result_json=RESULT if state is JobState.SUCCEEDED else None)

    assert None not in job_view(bare).values()
    assert None not in report_view(bare, "http://x").values()


def test_a_result_of_null_is_shown() -> None:
    """A job that returns None has a result, and it is null."""
    view = job_view(record(JobState.SUCCEEDED, result_json="null"))

    assert ("result" in view, view.get("result")) == (True, None)


def test_a_job_between_attempts_says_why_and_when() -> None:
    """A retrying job shows its last failure's code and message, and when the next attempt is due."""
    view = job_view(record(JobState.RETRYING, failure=FAILURE, due_ms=1_500, attempt=1, max_attempts=3))

    assert view.get("failure") == {"code": "timeout", "message": "It took too long."}
    assert view.get("next_retry_at") == "1970-01-01T00:00:01.500Z"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_772_357_400_007, "2026-03-01T09:30:00.007Z"),
        (10**18, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_timestamp_is_utc_with_milliseconds(ms: int, text: str) -> None:
    """Any moment is written, also one past the last year that has four digits."""
    assert timestamp(ms) == text


@pytest.mark.parametrize(
    ("state", "due_ms", "seconds"),
    [
        (JobState.QUEUED, 0, 1),
        (JobState.RUNNING, 0, 1),
        (JobState.RETRYING, 14_001, 5),
        (JobState.SCHEDULED, 10**9, 60),
        (JobState.SUCCEEDED, 0, None),
        (JobState.FAILED, 0, None),
        (JobState.CANCELLED, 0, None),
    ],
)
def test_a_client_is_told_when_to_ask_again(state: JobState, due_ms: int, seconds: int | None) -> None:
    """At once for what may run now, when it is due for what waits (a minute at most), never for what has ended."""
    assert retry_after_s(record(state, due_ms=due_ms), now_ms=10_000) == seconds
