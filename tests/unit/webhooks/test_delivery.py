"""A delivery without a server: what is sent, what follows from each answer, and how long it is tried."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqway import DiscardJob, JobContext, JobRecord, JobState, RetryJob
from arqway.workers.contract.record import Failure
from arqway.workers.contract.states import TERMINAL_STATES
from arqway.workers.runners.outcome import raised
from arqway.workers.settings import Settings
from arqway.workers.webhooks.address import CallbackRefused
from arqway.workers.webhooks.delivery import (
    RETRY,
    Courier,
    Delivery,
    delivery_job,
    message,
    message_id_of,
    retry_after,
)
from arqway.workers.webhooks.sender import WITHIN_S, Answer, Sender, Unreachable
from arqway.workers.webhooks.signature import tenant_secret, verify

MASTERS = ["whsec_" + "bmV3" * 8, "whsec_" + "b2xk" * 8]
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOTHING = timedelta(0)


def ended(state: JobState = JobState.SUCCEEDED, **changes: object) -> JobRecord:
    """Return the record of a job that has ended and names a callback."""
    fields: dict[str, object] = {
        "id": "0123.7",
        "kind": "report.generate",
        "queue": "default",
        "state": state,
        "attempt": 1,
        "created_ms": 1_000,
        "due_ms": 1_000,
        "started_ms": 1_500,
        "finished_ms": 2_500,
        "version": 3,
        "tenant": "acme",
        "callback_url": "https://receiver.example/hook?key=1",
        "result_json": "[1]" if state is JobState.SUCCEEDED else None,
    }
    return JobRecord(**{**fields, **changes})  # type: ignore[arg-type]


class Line(Sender):
    """A sender whose receiver is a value."""

    def __init__(self, outcome: Answer | Exception) -> None:
        self.outcome = outcome
        self.sent: list[tuple[str, Mapping[str, str], bytes]] = []

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer."""
        self.sent.append((url, headers, body))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def delivered(outcome: Answer | Exception, record: JobRecord | None = None, attempt: int = 1) -> Line:
    """Deliver once; raises what the job would."""
    line = Line(outcome)

    async def read(job_id: str) -> JobRecord:
        return record or ended()

    courier = Courier(read, line, MASTERS, random=Random(1))
    await courier.deliver(JobContext(None, attempt=attempt), Delivery(job_id="0123.7"))
    return line


def answered(status: int, **headers: str) -> Answer:
    """Return an answer."""
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()})


async def test_both_secrets_of_the_tenant_sign() -> None:
    """A receiver verifies with what the old master gives for its tenant, or with what the new one does."""
    ((url, headers, body),) = (await delivered(answered(204))).sent
    assert url == "https://receiver.example/hook?key=1"
    for master in MASTERS:
        assert verify(tenant_secret(master, "acme"), headers, body) == headers["webhook-id"]


@pytest.mark.parametrize("state", sorted(TERMINAL_STATES))
def test_the_body_is_the_jobs_view(state: JobState) -> None:
    """``type`` and ``timestamp`` as Standard Webhooks has them, and the job as ``GET /jobs/{id}`` shows it."""
    failure = Failure("exception", "It failed.", error="E", detail="secret text", traceback="secret text")
    body = message(ended(state, failure=failure if state is JobState.FAILED else None))
    told = json.loads(body)
    assert (told["type"], told["timestamp"]) == (f"job.{state}", "1970-01-01T00:00:02.500Z")
    assert told["data"]["id"] == "0123.7"
    assert told["data"]["state"] == state
    assert b"secret text" not in body


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0), st.integers(0))
def test_a_message_is_known_by_its_id(one: str, other: str, at_ms: int, later_ms: int) -> None:
    """The same end has the same id, another end another one; and there is no dot in it, as the signature needs."""
    first, second = ended(id=one, finished_ms=at_ms), ended(id=other, finished_ms=later_ms)
    assert message_id_of(first) == message_id_of(ended(id=one, finished_ms=at_ms, version=9))
    assert (message_id_of(first) == message_id_of(second)) == ((one, at_ms) == (other, later_ms))
    assert "." not in message_id_of(first)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_a_receiver_that_takes_it_ends_it(status: int) -> None:
    """Any 2xx."""
    assert len((await delivered(answered(status))).sent) == 1


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (answered(410), "gone", "wants no more"),
        (CallbackRefused(), "callback_refused", "may not be called"),
        (CallbackRefused("It redirects."), "callback_refused", "It redirects."),
    ],
)
async def test_what_no_attempt_can_mend_ends_it(outcome: Answer | Exception, code: str, text: str) -> None:
    """A receiver that is gone, and one that may not be called."""
    with pytest.raises(DiscardJob, match=text) as caught:
        await delivered(outcome)
    assert caught.value.code == code


@pytest.mark.parametrize("record", [ended(JobState.RUNNING), ended(callback_url=None)], ids=["runs again", "no URL"])
async def test_a_record_that_says_nothing_ends_it(record: JobRecord) -> None:
    """There is nothing to tell, or nobody to tell it to."""
    with pytest.raises(DiscardJob) as caught:
        await delivered(answered(204), record)
    assert caught.value.code == "job_gone"


@pytest.mark.parametrize("status", [101, 300, 301, 304, 400, 401, 404, 429, 500, 503, 599])
async def test_any_other_answer_is_tried_again(status: int) -> None:
    """Its code is in the log of attempts."""
    with pytest.raises(RetryJob, match=f"answered {status}") as caught:
        await delivered(answered(status))
    assert caught.value.code == f"http_{status}"


async def test_no_answer_is_tried_again() -> None:
    """By the policy's own delay."""
    with pytest.raises(RetryJob, match="Nobody there") as caught:
        await delivered(Unreachable("Nobody there."))
    assert (caught.value.code, caught.value.after) == ("unreachable", None)


def test_the_reason_of_a_retry_is_shown_where_it_has_a_code() -> None:
    """Code and message to everybody, the cause to operators; without a code all of it is for operators."""
    coded = RetryJob("Nobody there.", code="unreachable")
    coded.__cause__ = OSError("secret text")
    assert raised(coded).failure == Failure("unreachable", "Nobody there.", detail="secret text")
    assert raised(RetryJob("x", code="http_503")).failure == Failure("http_503", "x")
    plain = raised(RetryJob("secret text")).failure
    assert (plain.code, plain.message, plain.detail) == (
        "retry_asked",
        "The job asked to be tried again.",
        "secret text",
    )


@pytest.mark.parametrize("attempt", [1, 9, 18])
async def test_a_receiver_may_ask_for_more_time_and_never_for_less(attempt: int) -> None:
    """``Retry-After`` counts where it is longer than the policy's own delay, and up to its cap."""
    own = RETRY.delay_ms(attempt, Random(1).random())
    for asked_s, after_ms in ((0, own), (7_200, max(own, 7_200_000)), (999_999_999, 3 * 3_600_000)):
        with pytest.raises(RetryJob) as caught:
            await delivered(answered(503, retry_after=str(asked_s)), attempt=attempt)
        assert caught.value.after == timedelta(milliseconds=after_ms)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("", NOTHING),
        ("0", NOTHING),
        ("120", timedelta(minutes=2)),
        ("-5", NOTHING),
        ("1.5", NOTHING),
        ("9" * 5_000, NOTHING),
        ("soon", NOTHING),
        ("Tue, 24 Nov 2026 12:30:00 GMT", timedelta(minutes=30)),
        ("Tue, 24 Nov 2026 12:30:00 -0000", timedelta(minutes=30)),
        ("Tue, 24 Nov 2026 11:00:00 GMT", NOTHING),
        ("Wed, 25 Nov 2026 12:00:00 GMT", timedelta(hours=3)),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, wait: timedelta) -> None:
    """Source: RFC 9110, 10.2.3. What is neither says nothing."""
    assert retry_after(value, NOW) == wait


@given(st.text() | st.datetimes().map(lambda moment: format_datetime(moment.replace(tzinfo=UTC), usegmt=True)))
def test_any_retry_after_is_bounded(value: str) -> None:
    """Whatever a receiver sends."""
    assert NOTHING <= retry_after(value, NOW) <= RETRY.cap


def test_deliveries_are_tried_for_half_a_day() -> None:
    """17 delays, the first of up to 10 s: 23.7 h at most, half of it on average; then the job's record goes, too."""
    longest_ms = [RETRY.delay_ms(attempt, 1) for attempt in range(1, RETRY.max_attempts)]
    assert (len(longest_ms), longest_ms[0], max(longest_ms)) == (17, 10_000, 3 * 3_600_000)
    hours = sum(longest_ms) / 3_600_000
    assert round(hours, 1) == 23.7
    assert hours + RETRY.max_attempts * WITHIN_S / 3_600 < Settings().retention_s / 3_600


async def test_the_job_is_read_and_run_as_others_are() -> None:
    """The settle script writes its envelope; anything else is refused as a payload that does not fit."""
    line = Line(answered(204))

    async def read(job_id: str) -> JobRecord:
        assert job_id == "0123.7"
        return ended()

    job = delivery_job(Courier(read, line, MASTERS))
    envelope = b'{"t":null,"f":"webhook.deliver","a":[{"job_id":"0123.7"}],"k":{},"et":1}'
    receipt = await job(JobContext(None), job.read_envelope(envelope))
    assert (receipt["status"], receipt["url_host"]) == (204, "receiver.example")
    assert json.loads(job.write_result(receipt)) == receipt
    assert (job.kind, job.queue) == ("webhook.deliver", "webhooks")
