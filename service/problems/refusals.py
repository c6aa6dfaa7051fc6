"""Why somebody is turned away before a route is reached; ``service.problems.errors`` makes problems of these."""

from collections.abc import Mapping

from arqway.workers.contract.api_key import Scope
from arqway.workers.contract.errors import ArqwayError

_CHALLENGE = 'Bearer realm="arqway"'


class Refusal(ArqwayError):  # noqa: N818 - a fact, as in arqway.workers.contract.errors
    """The request is refused.

    Args:
        message: The docstring of the class, by default.
        headers: What the answer has besides.
    """

    def __init__(self, message: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class Unauthenticated(Refusal):
    """An API key is needed, in the header Authorization: Bearer KEY."""

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": _CHALLENGE})


class InvalidToken(Unauthenticated):
    """This is no API key that can be used: it is unknown, revoked or expired."""

    def __init__(self) -> None:
        super(Unauthenticated, self).__init__(headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})


class InsufficientScope(Refusal):
    """The API key does not allow this. Source of the header: RFC 6750, section 3."""

    def __init__(self, needed: Scope) -> None:
        challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{needed}"'
        super().__init__(f"This needs an API key with the scope {needed}.", {"WWW-Authenticate": challenge})


class RateLimited(Refusal):
    """There were too many requests with this API key."""


class ForeignHost(Refusal):
    """This service answers to names of this machine only, and to those in ARQWAY_TRUSTED_HOSTS."""


class ForeignOrigin(Refusal):
    """A page of another site may not do this: its origin is neither this machine nor in ARQWAY_CORS_ORIGINS."""
