"""Who is calling and what they may do: ``Caller``, and the dependency ``requires(Scope.X)`` of every route."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from arqway.service.problems.errors import InsufficientScope, Unauthenticated
from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ALL_SCOPES, Rate, Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request, and what they may see and do.

    An application that mounts Arqway's routes returns one from its own ``caller=`` dependency:
    ``Caller("acme", ["submit", "read"], name=user.email)``. Raises ValueError for an invalid tenant or scope.

    Args:
        tenant: Whose jobs they submit and see: 1 to 63 characters of ``a-z0-9_-``.
        scopes: Any of ``submit``, ``read`` and ``operate``; by default the first two.
        name: Their name in the audit log.
        key_id: The id of their API key, if they have one. It also names their rate limit bucket.
        rate: Their rate limit; None for no limit.
        known: False for callers of a service that does not identify its callers. They may do everything, but never see
            the text of an exception.
    """

    tenant: str = keys.DEFAULT_TENANT
    scopes: Iterable[Scope | str] = (Scope.SUBMIT, Scope.READ)
    name: str = ""
    key_id: str = ""
    rate: Rate | None = None
    known: bool = True

    def __post_init__(self) -> None:
        if not keys.is_tenant_name(self.tenant):
            raise ValueError("a tenant is named by 1 to 63 of a-z 0-9 _ -")
        object.__setattr__(self, "scopes", frozenset(map(Scope, self.scopes)))

    @property
    def is_operator(self) -> bool:
        """Whether the caller may see the text of exceptions: only if known and with the scope ``operate``."""
        return self.known and Scope.OPERATE in self.scopes

    @property
    def bucket(self) -> str:
        """The name of the rate limit bucket in which this caller's requests are counted."""
        return self.key_id or self.name or "anonymous"


ANYBODY = Caller(scopes=ALL_SCOPES, name="anonymous", known=False)
"""The caller of every request to a service without keys."""


class Requires:
    """A dependency that admits only callers with a given scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: HTTPConnection) -> None:
        """Return if the caller has the scope. Raises Unauthenticated or InsufficientScope."""
        authorise(request, self.scope)


def requires(scope: Scope) -> Any:
    """Return a dependency for a route: ``@router.get(…, dependencies=[requires(Scope.READ)])``."""
    return Depends(Requires(scope))


def caller_of(request: HTTPConnection) -> Caller:
    """Return who sent the request. Raises Unauthenticated if they were not identified, as on a public route."""
    caller: Caller | None = request.scope.get("caller")
    if caller is None:
        raise Unauthenticated
    return caller


def authorise(request: HTTPConnection, scope: Scope) -> Caller:
    """Return who sent the request, if they have ``scope``. Raises Unauthenticated or InsufficientScope."""
    caller = caller_of(request)
    if scope not in caller.scopes:
        raise InsufficientScope(scope)
    return caller
