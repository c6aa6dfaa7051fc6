"""Who is calling, and what they may do: a ``Caller``, and ``requires(Scope.X)``, which every route carries."""

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
    """Whoever sent a request, and what they may see and do.

    An application that mounts Arqway's routes returns one from its own ``caller=`` dependency:
    ``Caller("acme", ["submit", "read"], name=user.email)``. Raises ValueError for a tenant or a scope that cannot be.

    Args:
        tenant: Whose jobs they submit and see: 1 to 63 of ``a-z0-9_-``.
        scopes: ``submit``, ``read`` and ``operate``; by default the first two.
        name: What the audit log calls them.
        key_id: Of their API key, if they have one. It also names their bucket of requests.
        rate: How often they may ask; None: as often as they like.
        known: False for the caller of a service that asks nobody who they are. Such a caller may do everything, but is
            never told the text of an exception.
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
        """Whether the texts of exceptions may be shown: only to a known caller with the scope ``operate``."""
        return self.known and Scope.OPERATE in self.scopes

    @property
    def bucket(self) -> str:
        """What this caller's requests are counted as."""
        return self.key_id or self.name or "anonymous"


ANYBODY = Caller(scopes=ALL_SCOPES, name="anonymous", known=False)
"""Every caller of a service that asks for no keys."""


class Requires:
    """A dependency that lets in only callers with a scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: HTTPConnection) -> None:
        """Return if the caller has the scope. Raises Unauthenticated or InsufficientScope."""
        authorise(request, self.scope)


def requires(scope: Scope) -> Any:
    """Return the dependency that a route carries: ``@router.get(…, dependencies=[requires(Scope.READ)])``."""
    return Depends(Requires(scope))


def caller_of(request: HTTPConnection) -> Caller:
    """Return who sent the request. Raises Unauthenticated where nobody has been identified, as on a public route."""
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
