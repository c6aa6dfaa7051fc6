"""Who is calling and what they may do: identification, rate limits, and the scope that each route requires.

``Admission`` is plain ASGI, and comes before anything else is done with a request. The caller is then in the
connection's scope as ``caller``. An application that mounts the routes with ``caller=`` identifies callers itself.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from time import monotonic
from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from arqway.service.access.hosts import TrustedHosts, is_loopback
from arqway.service.problems import errors
from arqway.service.problems.answers import problem_of
from arqway.workers.client.access import Allowance, FoundKey
from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ALL_SCOPES, Rate, Scope, Token, proves
from arqway.workers.contract.errors import StoreUnavailable

_BELIEVED_S = 5.0
_KNOWN_MAX = 10_000
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)  # RFC 6750, section 2.1
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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
        raise errors.Unauthenticated
    return caller


def authorise(request: HTTPConnection, scope: Scope) -> Caller:
    """Return who sent the request, if they have ``scope``. Raises Unauthenticated or InsufficientScope."""
    caller = caller_of(request)
    if scope not in caller.scopes:
        raise errors.InsufficientScope(scope)
    return caller


Callers = Callable[[Connection], Awaitable[Caller]]
"""Returns who sent a request. Raises AccessRefused or StoreUnavailable."""


class Admission:
    """Admits the callers whom ``callers`` identifies, within their rate limits, and refuses all others.

    The headers that report the limits are those of draft-ietf-httpapi-ratelimit-headers (its revision of September
    2025). The policy is stated conservatively: a bucket of ``q`` requests that refills within ``w`` seconds, so
    ``q / w`` never exceeds the rate.

    Args:
        callers: Identifies the sender of a request.
        draw: Takes one request from a bucket that all API processes share.
    """

    def __init__(self, callers: Callers, draw: Callable[[str, Rate], Awaitable[Allowance]]) -> None:
        self._callers = callers
        self._draw = draw

    async def serve(self, app: ASGIApp, scope: Connection, receive: Receive, send: Send) -> None:
        """Let ``app`` serve one request, with ``scope["caller"]`` set, or refuse it."""
        try:
            caller = await self._callers(scope)
            limits = await self.count(caller)
        except (errors.AccessRefused, StoreUnavailable) as refusal:
            await problem_of(refusal)(scope, receive, send)
            return
        scope["caller"], scope["callers"] = caller, self._callers

        async def send_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower().encode(), value.encode()) for name, value in limits.items()]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await app(scope, receive, send_limits if limits else send)

    async def count(self, caller: Caller) -> dict[str, str]:
        """Count a request and return the headers that report its limit, if any. Raises RateLimited."""
        if (rate := caller.rate) is None:
            return {}
        allowance = await self._draw(caller.bucket, rate)
        wait_s = ceil(allowance.gains_ms / 1000)
        refill_s = ceil(rate.burst * rate.interval_us / 1_000_000)
        limits = {
            "RateLimit-Policy": f'"default";q={rate.burst};w={refill_s}',
            "RateLimit": f'"default";r={allowance.left};t={wait_s}',
        }
        if not allowance.admitted:
            reason = f"There were too many requests. The next one will be served in {wait_s} s."
            raise errors.RateLimited(reason, {**limits, "Retry-After": str(wait_s)})
        return limits


class KeyHolders:
    """Identifies callers by their API keys.

    A valid token is cached for 5 s: during that time, a revoked key still works, and known callers are served even if
    Redis is away. The cache holds the digests of the latest 10,000 tokens. Invalid tokens are never cached, and reveal
    nothing through timing: an unknown id is looked up and compared like any other.

    Args:
        find: Looks up a key by its id.
        default_rate: The rate of keys that have none of their own.
        clock: Returns monotonic time in seconds.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[FoundKey | None]],
        default_rate: Rate | None = None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._find = find
        self._default_rate = default_rate
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}

    async def __call__(self, scope: Connection) -> Caller:
        """Return who sent the request. Raises Unauthenticated, InvalidToken or StoreUnavailable."""
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(sent) != 1:
            raise errors.InvalidToken if sent else errors.Unauthenticated
        digest = sha256(sent[0]).digest()
        caller, until_s = self._known.get(digest, (None, 0.0))
        return caller if caller and self._clock() < until_s else await self._look_up(digest, sent[0])

    async def _look_up(self, digest: bytes, sent: bytes) -> Caller:
        asked_s = self._clock()
        if (bearer := _BEARER.fullmatch(sent.decode("latin-1"))) is None:
            raise errors.Unauthenticated
        if (token := Token.parse(bearer[1])) is None:
            raise errors.InvalidToken
        found = await self._find(token.id)
        self._known.pop(digest, None)
        if not proves(token, found.key if found else None) or found is None or not found.usable_ms:
            raise errors.InvalidToken
        key = found.key
        caller = Caller(key.tenant, key.scopes, key.name, key.id, key.rate or self._default_rate)
        if len(self._known) >= _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[digest] = caller, asked_s + min(_BELIEVED_S, found.usable_ms / 1000)
        return caller


class LocalCallers:
    """Admits the callers of a service without keys: anyone on this machine, but no web page of another site.

    Args:
        hosts: The host names that requests may use.
        rate: A limit for all callers together.
        mounted: Whether the routes are mounted in another application. Arqway's own server listens on the loopback
            interface only; another one may not, so the client's address is checked, too. A client without an address
            is in this process.
    """

    def __init__(self, hosts: TrustedHosts, rate: Rate | None = None, *, mounted: bool = False) -> None:
        self._hosts = hosts
        self._caller = replace(ANYBODY, rate=rate)
        self._mounted = mounted

    async def __call__(self, scope: Connection) -> Caller:
        """Return who sent the request. Raises ForeignHost, ForeignOrigin or RemoteCaller."""
        if self._mounted and not self._has_address(scope):
            return self._caller
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not self._hosts.has_host(headers.get(b"host", b"").decode("latin-1")):
            raise errors.ForeignHost
        origin = headers.get(b"origin")
        if origin and scope["method"] not in _SAFE and not self._hosts.has_origin(origin.decode("latin-1")):
            raise errors.ForeignOrigin
        return self._caller

    def _has_address(self, scope: Connection) -> bool:
        """Return whether the client has an address on this machine. Raises RemoteCaller for any other address."""
        address = (scope.get("client") or ("",))[0]
        try:
            ip_address(address)
        except ValueError:  # Starlette's TestClient, or a server on a unix socket
            return False
        if not is_loopback(address):
            raise errors.RemoteCaller
        return True
