"""Identifies the caller before anything else is done with a request.

Plain ASGI. ``KeyHolders`` or ``LocalCallers`` identifies the caller, who is then in the connection's scope as
``caller``. An application that mounts the routes with ``caller=`` identifies callers itself.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from time import monotonic

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from arqway.service.access.callers import ANYBODY, Caller
from arqway.service.access.hosts import TrustedHosts, is_loopback
from arqway.service.access.rates import RateLimiter
from arqway.service.problems.answers import problem_of
from arqway.service.problems.errors import (
    AccessRefused,
    ForeignHost,
    ForeignOrigin,
    InvalidToken,
    RemoteCaller,
    Unauthenticated,
)
from arqway.workers.client.access import FoundKey
from arqway.workers.contract.api_key import Rate, Token, proves
from arqway.workers.contract.errors import StoreUnavailable

_BELIEVED_S = 5.0
_KNOWN_MAX = 10_000
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Callers = Callable[[Scope], Awaitable[Caller]]
"""Returns who sent a request. Raises AccessRefused or StoreUnavailable."""


class Admission:
    """Admits the callers whom ``callers`` identifies, within their rate limits, and refuses all others."""

    def __init__(self, callers: Callers, limiter: RateLimiter) -> None:
        self._callers = callers
        self._limiter = limiter

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` serve one request, with ``scope["caller"]`` set, or refuse it."""
        try:
            caller = await self._callers(scope)
            if caller.rate is not None:
                send = await self._limiter.admit(caller, caller.rate, send)
        except (AccessRefused, StoreUnavailable) as refusal:
            await problem_of(refusal)(scope, receive, send)
            return
        scope["caller"], scope["callers"] = caller, self._callers
        await app(scope, receive, send)


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

    async def __call__(self, scope: Scope) -> Caller:
        """Return who sent the request. Raises Unauthenticated, InvalidToken or StoreUnavailable."""
        sent = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(sent) != 1:
            raise InvalidToken if sent else Unauthenticated
        digest = sha256(sent[0]).digest()
        caller, until_s = self._known.get(digest, (None, 0.0))
        return caller if caller and self._clock() < until_s else await self._look_up(digest, sent[0])

    async def _look_up(self, digest: bytes, sent: bytes) -> Caller:
        asked_s = self._clock()
        token = _token(sent)
        found = await self._find(token.id)
        self._known.pop(digest, None)
        if not proves(token, found.key if found else None) or found is None or not found.usable_ms:
            raise InvalidToken
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

    async def __call__(self, scope: Scope) -> Caller:
        """Return who sent the request. Raises ForeignHost, ForeignOrigin or RemoteCaller."""
        if self._mounted and not self._has_address(scope):
            return self._caller
        host, origin = "", ""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
        if not self._hosts.has_host(host):
            raise ForeignHost
        if origin and scope["method"] not in _SAFE and not self._hosts.has_origin(origin):
            raise ForeignOrigin
        return self._caller

    def _has_address(self, scope: Scope) -> bool:
        """Return whether the client has an address on this machine. Raises RemoteCaller for any other address."""
        address = (scope.get("client") or ("",))[0]
        try:
            ip_address(address)
        except ValueError:  # Starlette's TestClient, or a server on a unix socket
            return False
        if not is_loopback(address):
            raise RemoteCaller
        return True


async def still_admitted(request: Request) -> bool:
    """Return whether the caller may continue this request; for streams, which can outlive a key's revocation.

    While Redis is away, every caller may. A ``caller=`` dependency is evaluated only once, when the request begins.
    """
    callers: Callers | None = request.scope.get("callers")
    try:
        return callers is None or await callers(request.scope) is not None
    except AccessRefused:
        return False
    except StoreUnavailable:
        return True


def _token(sent: bytes) -> Token:
    """Parse the Authorization header. Source: RFC 6750, section 2.1."""
    bearer = _BEARER.fullmatch(sent.decode("latin-1"))
    if bearer is None:
        raise Unauthenticated
    token = Token.parse(bearer[1])
    if token is None:
        raise InvalidToken
    return token
