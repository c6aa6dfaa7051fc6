"""What may go wrong between a client and the service.

::

    ApiError
    ├── Invalid            the request is invalid: 400, 413, 415, 422 and most other 4xx
    ├── Unauthorised       401: no API key, or an invalid one
    ├── Forbidden          403: the API key does not allow this
    ├── NotFound           404: no such job, batch or kind
    ├── Conflict           409, 412: the present state does not permit the request
    ├── TooManyRequests    429, also after the retries
    ├── Unavailable        no response, or 502, 503, 504, also after the retries
    └── UnexpectedAnswer   the response is not from Arqway, or from a version that this client cannot read

Two more report the outcome of a job, and are the same for programs that use Redis directly: ``JobFailed`` and
``WaitTimeout`` of ``arqway.workers.contract.errors``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import TypeAdapter
from pydantic_core import from_json

from arqway.service.shapes.problems import FieldError, ItemProblem, Problem
from arqway.workers.contract.errors import ArqwayError

HELD = "idempotency_held"
_PROBLEM = TypeAdapter(Problem)


@dataclass(eq=False, repr=False)
class ApiError(ArqwayError):
    """The service did not do what was asked."""

    detail: str
    """For people."""
    _: KW_ONLY
    status: int = 0
    """The HTTP status; 0 without a response."""
    code: str = ""
    """For programs: the code of the problem, as listed in ``docs/contract.md``; empty if the response has none."""
    errors: Sequence[FieldError] = ()
    """Which parts of the request are invalid."""
    items: Sequence[ItemProblem] = ()
    """Which jobs of an atomic batch cannot be accepted."""
    job_id: str | None = None
    """The job that the request conflicts with."""
    request_id: str | None = None
    """Identifies the request in the service's log."""
    retry_after_s: float | None = None
    """How long the service asks clients to wait before the next try."""
    reached: bool = True
    """Whether the service may have received the request."""
    repeated: bool = False
    """Whether the service may have served an earlier try of the same call."""

    def __post_init__(self) -> None:
        told = (f"{'.'.join(map(str, one['loc'][1:])) or 'payload'}: {one['msg']}" for one in self.errors)
        super().__init__(" ".join([self.detail, *told]))

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return isinstance(self, TooManyRequests | Unavailable) or self.code == HELD


class Invalid(ApiError):  # noqa: N818 - a fact, as in arqway.workers.contract.errors
    """The request is invalid."""


class Unauthorised(ApiError):  # noqa: N818
    """An API key is needed, or this one is invalid."""


class Forbidden(ApiError):  # noqa: N818
    """The API key does not allow this."""


class NotFound(ApiError):  # noqa: N818
    """There is no such job, batch or kind."""


class Conflict(ApiError):  # noqa: N818
    """The present state does not permit the request."""


class TooManyRequests(ApiError):  # noqa: N818
    """There were too many requests."""


class Unavailable(ApiError):  # noqa: N818
    """The service does not respond, or cannot serve the request at the moment."""


class UnexpectedAnswer(ApiError):  # noqa: N818
    """The response is not from Arqway, or from a version that this client cannot read."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: TooManyRequests,
    **dict.fromkeys((502, 503, 504), Unavailable),
}


def error_of(answer: httpx.Response) -> ApiError:
    """Return the error that a response reports. A proxy's or another application's need not have a problem as body."""
    status = answer.status_code
    detail = f"The service answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    problem: Problem = {"type": "about:blank", "title": "", "status": status, "detail": detail, "code": ""}
    with suppress(TypeError, ValueError):
        problem = _PROBLEM.validate_python({**problem, **from_json(answer.content)})
    other = Invalid if answer.is_client_error else ApiError if answer.is_server_error else UnexpectedAnswer
    return _BY_STATUS.get(status, other)(
        problem["detail"],
        status=status,
        code=problem["code"],
        errors=problem.get("errors", ()),
        items=problem.get("items", ()),
        job_id=problem.get("job_id"),
        request_id=answer.headers.get("x-request-id"),
        retry_after_s=retry_after_s(answer, datetime.now(UTC)),
    )


def retry_after_s(answer: httpx.Response, now: datetime) -> float | None:
    """Return the header Retry-After as seconds from now, or None if it is absent or invalid.

    Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    given = answer.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdecimal():
        return float(given[:9])
    try:
        return max(0.0, (parsedate_to_datetime(given) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
