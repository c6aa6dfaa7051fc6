"""What may go wrong between a client and the service.

::

    ApiError
    ├── Invalid            the request cannot be served as it is: 400, 413, 415, 422 and most other 4xx
    ├── Unauthorised       401: no API key, or none that can be used
    ├── Forbidden          403: the API key does not allow this
    ├── NotFound           404: no such job, batch or kind
    ├── Conflict           409, 412: it is in another state than the request needs
    ├── TooManyRequests    429, still so after the retries
    ├── Unavailable        no answer, or 502, 503, 504, still so after the retries
    └── UnexpectedAnswer   what answers is not Arqway, or a version that this client cannot read

Two more say how a job ended or did not, and are the same beside Redis: ``JobFailed`` and ``WaitTimeout`` of
``arqway.workers.contract.errors``.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
from pydantic import TypeAdapter
from pydantic_core import from_json

from arqway.service.shapes.problems import FieldError, ItemProblem, Problem
from arqway.workers.contract.errors import ArqwayError

HELD = "idempotency_held"
_PROBLEM = TypeAdapter(Problem)


class ApiError(ArqwayError):
    """The service did not do what was asked.

    Args:
        detail: For people.
        status: HTTP status; 0 where no answer came.
        code: For programs: that of the problem, by ``docs/contract.md``; empty if the answer has none.
        errors: Which parts of the request do not fit.
        items: Which jobs of an atomic batch cannot be accepted.
        job_id: The job that stands in the way.
        request_id: Names the request in the service's log.
        retry_after_s: When the service would like to be asked again.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        errors: Sequence[FieldError] = (),
        items: Sequence[ItemProblem] = (),
        job_id: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(" ".join([detail, *map(_told, errors)]))
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.items = tuple(items)
        self.job_id = job_id
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.reached = True
        """Whether the service may have got the request."""
        self.repeated = False
        """Whether the service may have served an earlier try of the same call."""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may well be served a little later."""
        return isinstance(self, TooManyRequests | Unavailable) or self.code == HELD


class Invalid(ApiError):  # noqa: N818 - a fact, as in arqway.workers.contract.errors
    """The request cannot be served as it is."""


class Unauthorised(ApiError):  # noqa: N818
    """An API key is needed, or this one cannot be used."""


class Forbidden(ApiError):  # noqa: N818
    """The API key does not allow this."""


class NotFound(ApiError):  # noqa: N818
    """There is no such job, batch or kind."""


class Conflict(ApiError):  # noqa: N818
    """What was asked does not go with the present state."""


class TooManyRequests(ApiError):  # noqa: N818
    """There were too many requests."""


class Unavailable(ApiError):  # noqa: N818
    """The service does not answer, or cannot at the moment."""


class UnexpectedAnswer(ApiError):  # noqa: N818
    """What answered is not Arqway, or a version that this client cannot read."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(answer: httpx.Response) -> ApiError:
    """Return the error that an answer tells, whoever wrote it: the service or a proxy before it."""
    problem = _problem_in(answer)
    return _class_of(answer)(
        problem["detail"],
        status=answer.status_code,
        code=problem["code"],
        errors=problem.get("errors", ()),
        items=problem.get("items", ()),
        job_id=problem.get("job_id"),
        request_id=answer.headers.get("x-request-id"),
        retry_after_s=retry_after_s(answer, datetime.now(UTC)),
    )


def retry_after_s(answer: httpx.Response, now: datetime) -> float | None:
    """Return what the header Retry-After says, as seconds from now; None where it says nothing that can be read.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        return float(given[:9])
    try:
        return max(0.0, (parsedate_to_datetime(given) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _problem_in(answer: httpx.Response) -> Problem:
    """Return what the body tells, with the status for what it does not tell: others need not answer with problems."""
    problem: Problem = {
        "type": "about:blank",
        "title": "",
        "status": answer.status_code,
        "detail": f"The service answered {answer.status_code} {_phrase(answer)}".rstrip(),
        "code": "",
    }
    try:
        return _PROBLEM.validate_python({**problem, **from_json(answer.content)})
    except (TypeError, ValueError):
        return problem


def _told(error: FieldError) -> str:
    return f"{'.'.join(map(str, error['loc'][1:])) or 'payload'}: {error['msg']}"


def _class_of(answer: httpx.Response) -> type[ApiError]:
    if found := _BY_STATUS.get(answer.status_code):
        return found
    if answer.is_client_error:
        return Invalid
    return ApiError if answer.is_server_error else UnexpectedAnswer


def _phrase(answer: httpx.Response) -> str:
    try:
        return HTTPStatus(answer.status_code).phrase
    except ValueError:
        return ""
