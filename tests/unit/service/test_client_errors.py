"""What the client makes of answers that are no success."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from arqway.service.client import errors
from arqway.service.client.errors import ApiError, UnexpectedAnswer, error_of, retry_after_s
from arqway.service.problems.answers import field_errors, problem_response
from arqway.service.problems.table import PROBLEMS, UNEXPECTED, ProblemKind
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.definition import job

KINDS = [*PROBLEMS.values(), UNEXPECTED]
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def answer_to(kind: ProblemKind, **parts: object) -> httpx.Response:
    """Return the service's own answer to a problem, as the client gets it."""
    made = problem_response(kind, "What went wrong.", **parts)  # type: ignore[arg-type]
    return httpx.Response(made.status_code, headers={**made.headers, "x-request-id": "r1"}, content=bytes(made.body))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_every_problem_of_the_service_is_an_error(kind: ProblemKind) -> None:
    """With its status, code, detail and request id; its class tells what kind it is, and nothing is unexpected."""
    error = error_of(answer_to(kind))
    assert (error.status, error.code, error.detail) == (kind.status, kind.code, "What went wrong.")
    assert (error.request_id, error.retry_after_s) == ("r1", kind.retry_after_s)
    assert not isinstance(error, UnexpectedAnswer)
    assert type(error) is not ApiError or kind.status == 500


def test_only_what_passes_is_tried_again() -> None:
    """Of all that the service may answer: 429, 503 and 504, and a first request that is still being served."""
    passing = {kind.code for kind in KINDS if error_of(answer_to(kind)).is_passing}
    assert passing == {kind.code for kind in KINDS if kind.status in {429, 503, 504}} | {"idempotency_held"}


def test_the_parts_that_do_not_fit_are_told() -> None:
    """As data, and in the text."""

    @job("test.numbers")
    async def numbers(ctx: object, payload: dict[str, list[int]]) -> None: ...

    with pytest.raises(InvalidPayload) as refused:
        numbers.read_payload(b'{"a": [1, "x"]}')
    fitting = field_errors(refused.value.errors, "body")
    error = error_of(answer_to(PROBLEMS[InvalidPayload], errors=fitting))
    assert [(one["loc"], one["type"]) for one in error.errors] == [(["body", "a", 1], "int_parsing")]
    assert str(error).startswith("What went wrong. a.1: Input should be a valid integer")


def test_what_is_beside_is_told_too() -> None:
    """The job in the way, and the items of an atomic batch; a member of a later version is passed over."""
    items = [{"index": 3, "code": "unknown_kind", "detail": "No.", "new": 1}]
    error = error_of(answer_to(PROBLEMS[InvalidPayload], job_id="j1", items=items, newer={"a": 1}))
    assert error.job_id == "j1"
    assert [(item["index"], item["code"]) for item in error.items] == [(3, "unknown_kind")]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, "<html>Bad Gateway</html>", errors.Unavailable),
        (503, "", errors.Unavailable),
        (504, "[]", errors.Unavailable),
        (404, '{"detail": ["not", "a", "text"]}', errors.NotFound),
        (401, "null", errors.Unauthorised),
        (418, "{}", errors.Invalid),
        (500, "{", ApiError),
        (302, "", errors.UnexpectedAnswer),
        (599, "\xff", ApiError),
    ],
)
def test_what_others_answer_is_an_error_by_its_status(status: int, body: str, kind: type[ApiError]) -> None:
    """Whatever the body of a proxy or of another service is."""
    error = error_of(httpx.Response(status, content=body.encode("latin-1")))
    assert type(error) is kind
    assert (error.status, error.code) == (status, "")
    assert str(error).startswith(f"The service answered {status}")


@pytest.mark.parametrize("detail", ["Not authenticated", "Log in first."])
def test_the_words_of_an_application_around_the_service_are_told(detail: str) -> None:
    """Its own login may answer before the service does, as FastAPI would: with a detail, and no more of a problem."""
    error = error_of(httpx.Response(401, json={"detail": detail}))
    assert (type(error), error.detail, error.code) == (errors.Unauthorised, detail, "")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 17 ", 17),
        ("9" * 30, 999_999_999),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Sun, 99 Mar 2026 09:30:00 GMT", None),
    ],
)
def test_when_to_come_back(header: str, seconds: float | None) -> None:
    """Seconds or a date; what is neither says nothing."""
    answer = httpx.Response(503, headers={b"retry-after": header.encode()})
    assert retry_after_s(answer, NOW) == seconds


def test_a_date_in_no_time_zone_says_nothing() -> None:
    """It is no date after RFC 9110."""
    assert retry_after_s(httpx.Response(503, headers={"retry-after": "Sun, 01 Mar 2026 09:30:00 -0000"}), NOW) is None
