"""The errors of the HTTP API, in addition to those of jobs. The docstring of a class is its default message."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import ArqwayError


class ServiceError(ArqwayError):
    """The request cannot be served.

    Args:
        message: By default, the docstring of the class.
        headers: Additional response headers.
    """

    def __init__(self, message: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class NotJson(ServiceError):  # noqa: N818 - a fact, as in arqway.workers.contract.errors
    """The body is not JSON."""


class UnsupportedMediaType(ServiceError):  # noqa: N818
    """The body must be JSON, sent with the header Content-Type: application/json."""

    def __init__(self) -> None:
        super().__init__(headers={"Accept": "application/json"})


class UnsupportedJson(ServiceError):  # noqa: N818
    """The body is JSON that parsers interpret differently."""


class BodyTooLarge(HTTPException):
    """The body is larger than this service accepts. An HTTPException, which FastAPI's body reader does not wrap."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"A body may have {max_bytes} bytes at most.")


class RequestTimeout(HTTPException):
    """The request did not arrive completely in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(408, f"A request must be complete within {timeout_s:g} s.", {"Connection": "close"})


class ServiceBusy(HTTPException):
    """The service has reached a limit on what it may hold."""

    def __init__(self, what: str) -> None:
        super().__init__(503, f"The service has reached its limit of {what}.")


class MalformedRequest(HTTPException):
    """The request is not valid HTTP/1.1."""

    def __init__(self) -> None:
        super().__init__(400, "What was sent is not HTTP/1.1.")


class HeadersTooLarge(HTTPException):
    """The head of the request is larger than this service accepts."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(431, f"The head of a request may have {max_bytes} bytes at most.")


class InvalidIdempotencyKey(ServiceError):  # noqa: N818
    """The Idempotency-Key header must be sent once, as a string of 1 to 255 visible characters."""


class InvalidEventId(ServiceError):  # noqa: N818
    """Last-Event-ID is not the id of an event of this stream."""


class TooManyStreams(ServiceError):  # noqa: N818
    """The service has reached its limit of open event streams."""


class JobNotSucceeded(ServiceError):  # noqa: N818
    """The job has no result: it has not finished yet, or did not succeed."""


class ReportNotReady(ServiceError):  # noqa: N818
    """The report is still being generated."""


class ReportUnavailable(ServiceError):  # noqa: N818
    """There is no file: the report failed or was cancelled, or its file has been deleted."""


class ReportStoreUnavailable(ServiceError):  # noqa: N818
    """The store of finished reports is currently unavailable."""


class AccessRefused(ServiceError):  # noqa: N818
    """The caller may not send this request."""


class Unauthenticated(AccessRefused):
    """An API key is needed, in the header Authorization: Bearer KEY."""

    challenge = 'Bearer realm="arqway"'

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": self.challenge})


class InvalidToken(Unauthenticated):
    """The API key cannot be used: it is unknown, revoked or expired."""

    challenge = f'{Unauthenticated.challenge}, error="invalid_token"'


class InsufficientScope(AccessRefused):
    """The API key does not allow this. Source of the header: RFC 6750, section 3."""

    def __init__(self, needed: Scope) -> None:
        challenge = f'{Unauthenticated.challenge}, error="insufficient_scope", scope="{needed}"'
        super().__init__(f"This needs an API key with the scope {needed}.", {"WWW-Authenticate": challenge})


class RateLimited(AccessRefused):
    """Too many requests were sent with this API key."""


class ForeignHost(AccessRefused):
    """This service may only be called by a host name of this machine, or one in ARQWAY_TRUSTED_HOSTS."""


class ForeignOrigin(AccessRefused):
    """A web page of another site may not do this: its origin is neither this machine nor in ARQWAY_CORS_ORIGINS."""


class RemoteCaller(AccessRefused):
    """These routes require neither a key nor a login, so only clients on this machine may call them."""
