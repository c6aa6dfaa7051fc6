"""The door: who is calling, and may they, before anything else is done with a request.

Plain ASGI. ``KeyHolders`` or ``LocalCallers`` says who it is; what it says is in the connection's scope as ``caller``.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from hashlib import sha256
from time import monotonic

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from arqway.service.access.callers import ANYBODY, PUBLIC, Caller
from arqway.service.access.hosts import TrustedHosts
from arqway.service.access.rates import RateLimiter
from arqway.service.problems.answers import problem_of
from arqway.service.problems.refusals import ForeignHost, ForeignOrigin, InvalidToken, Refusal, Unauthenticated
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import Access, FoundKey
from arqway.workers.contract.api_key import Rate, Token, proves
from arqway.workers.contract.errors import StoreUnavailable

_BELIEVED_S = 5.0
_KNOWN_MAX = 10_000
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_PUBLIC_FOLDER = "/problems/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Callers = Callable[[Scope], Awaitable[Caller | None]]
"""Says who sent a request; None: nobody known, and the request is for something public. Raises Refusal."""


def admission(settings: ServiceSettings, access: Callable[[], Access]) -> Middleware:
    """Return the layer that ``settings`` ask for; ``access`` is called once requests come."""
    limiter = RateLimiter(lambda bucket, rate: access().limits.draw(bucket, rate))
    callers: Callers
    if settings.auth == "keys":
        callers = KeyHolders(lambda key_id: access().keys.find(key_id), settings.default_rate)
    else:
        callers = LocalCallers(TrustedHosts(settings.trusted_hosts, settings.cors_origins), settings.default_rate)
    return Middleware(Admission, callers=callers, limiter=limiter)


class Admission:
    """Lets in whom ``callers`` knows, as often as their rate allows, and answers everybody else."""

    def __init__(self, app: ASGIApp, *, callers: Callers, limiter: RateLimiter) -> None:
        self._app = app
        self._callers = callers
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._callers(scope)
            if caller is not None and caller.rate is not None:
                send = await self._limiter.admit(caller, caller.rate, send)
        except (Refusal, StoreUnavailable) as refusal:
            await problem_of(refusal)(scope, receive, send)
            return
        scope["caller"], scope["callers"] = caller, self._callers
        await self._app(scope, receive, send)


class KeyHolders:
    """Callers by their API keys.

    A token that was found good is believed for 5 s: so long may a revoked key live on, and so long do known callers get
    on without Redis. Tokens are known by their digests, the latest 10,000 of them. Whoever sends a wrong one fills
    nothing, and learns nothing from the time it takes: an unknown id is looked up and compared like any other.

    Args:
        find: Returns a key by its id.
        default_rate: Of keys that have none of their own.
        clock: Seconds.
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

    async def __call__(self, scope: Scope) -> Caller | None:
        """Return who sent the request. Raises Unauthenticated, InvalidToken or StoreUnavailable."""
        path: str = scope["path"]
        if path in PUBLIC or path.startswith(_PUBLIC_FOLDER):
            return None
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
        caller = Caller(key.tenant, key.scopes, key.id, key.name, key.rate or self._default_rate)
        if len(self._known) >= _KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[digest] = caller, asked_s + min(_BELIEVED_S, found.usable_ms / 1000)
        return caller


class LocalCallers:
    """The callers of a service that asks for no keys: anybody on this machine, but no page of another site.

    Args:
        hosts: The names that requests may use.
        rate: A limit for all of them together.
    """

    def __init__(self, hosts: TrustedHosts, rate: Rate | None = None) -> None:
        self._hosts = hosts
        self._caller = replace(ANYBODY, rate=rate)

    async def __call__(self, scope: Scope) -> Caller:
        """Return who sent the request. Raises ForeignHost or ForeignOrigin."""
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


async def still_admitted(request: Request) -> bool:
    """Tell whether who began this request may still go on with it: for streams, which outlive a revocation.

    While Redis is away, everybody may.
    """
    callers: Callers = request.scope["callers"]
    try:
        return await callers(request.scope) is not None
    except Refusal:
        return False
    except StoreUnavailable:
        return True


def _token(sent: bytes) -> Token:
    """Read the header Authorization. Source: RFC 6750, section 2.1."""
    bearer = _BEARER.fullmatch(sent.decode("latin-1"))
    if bearer is None:
        raise Unauthenticated
    token = Token.parse(bearer[1])
    if token is None:
        raise InvalidToken
    return token
