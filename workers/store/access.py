"""What the HTTP service stores about its callers: API keys, rate-limit buckets, and the audit log of operators.

The token of an API key is shown only once, when the key is created.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from secrets import token_hex
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ApiKey, Rate, Scope, Token
from arqway.workers.store.batcher import Batcher, distinct
from arqway.workers.store.connection import Clock, Facade, Value, rows, server_clock, store_errors

_MILLISECOND = timedelta(milliseconds=1)
_KEPT_AFTER_END_MS = 90 * 86_400_000
"""How long a revoked or expired key is still listed, so that ids in logs can be explained."""
_AUDIT_KEPT = 10_000

Revocation = Literal["revoked", "before", "unknown"]


class NewKey(NamedTuple):
    """A key that has just been created, with its token."""

    key: ApiKey
    token: Token


class FoundKey(NamedTuple):
    """A key, and how many milliseconds it remains usable by the server's clock; 0: it is not usable."""

    key: ApiKey
    usable_ms: int


class ApiKeys(Facade):
    """The keys of one server."""

    def __init__(self, redis: Redis, *, clock: Clock = server_clock) -> None:
        super().__init__(redis, clock=clock)
        self._finds = Batcher(distinct(self._find_many))

    async def create(
        self,
        name: str,
        *,
        tenant: str,
        scopes: frozenset[Scope],
        rate: Rate | None = None,
        expires_in: timedelta | None = None,
        if_none: bool = False,
    ) -> NewKey | None:
        """Create a key. Its token is returned here and stored nowhere. Atomic: one script.

        Args:
            name: Display name; need not be unique.
            tenant: The tenant whose jobs it submits and sees.
            scopes: What the key permits.
            rate: Its own rate limit; None: the service's default.
            expires_in: How long it is usable; None: until it is revoked.
            if_none: Create it only if no usable key exists; otherwise return None.
        """
        token = Token(token_hex(6), token_hex(32))
        key = ApiKey(id=token.id, digest=token.digest, name=name, tenant=tenant, scopes=scopes, rate=rate, created_ms=0)
        life_ms = 0 if expires_in is None else expires_in // _MILLISECOND
        args: list[Value] = [key.id, life_ms, _KEPT_AFTER_END_MS, int(if_none)]
        for field in key.to_hash().items():
            args += field
        if not (made_ms := int(await self._call("api_key_create", args))):
            return None
        return NewKey(replace(key, created_ms=made_ms, expires_ms=made_ms + life_ms if life_ms else None), token)

    async def find(self, key_id: str) -> FoundKey | None:
        """Return a key, usable or not; None if it does not exist. Concurrent calls share a round trip."""
        return await self._finds(key_id)

    async def read_all(self) -> list[FoundKey]:
        """Return all keys, oldest first, including those that expired or were revoked in the last 90 days."""
        now, *flat = await self._call("api_key_list")
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [found for key_id, raw in pairs if (found := _found(key_id.decode(), raw, int(now)))]

    async def revoke(self, key_id: str) -> Revocation:
        """Revoke a key for good. Returns ``revoked``, ``before`` if it already was, or ``unknown``."""
        answer: bytes = await self._call("api_key_revoke", [key_id, _KEPT_AFTER_END_MS])
        return answer.decode()  # type: ignore[return-value]

    async def _find_many(self, key_ids: Sequence[str]) -> list[FoundKey | None]:
        now, *hashes = await self._call("api_key_read", key_ids)
        return [_found(key_id, raw, int(now)) for key_id, raw in zip(key_ids, hashes, strict=True)]


def _found(key_id: str, flat: Sequence[bytes], now_ms: int) -> FoundKey | None:
    if not flat:
        return None
    texts = [part.decode() for part in flat]
    key = ApiKey.from_hash(key_id, dict(zip(texts[::2], texts[1::2], strict=True)))
    return FoundKey(key, key.usable_ms(now_ms))


class Allowance(NamedTuple):
    """A bucket's answer to a request."""

    admitted: bool
    left: int
    """Number of requests left in the bucket."""
    gains_ms: int
    """Milliseconds until the bucket gains a request. A refused request is admitted then, unless another comes first."""


class RateLimits(Facade):
    """The rate-limit buckets of one server, shared by all API processes.

    Exact: one script counts requests by the server's clock. Concurrent calls share a round trip.
    """

    def __init__(self, redis: Redis, *, clock: Clock = server_clock) -> None:
        super().__init__(redis, clock=clock)
        self._draws = Batcher(self._draw_all)

    async def draw(self, bucket: str, rate: Rate) -> Allowance:
        """Take one request from a bucket; a new bucket is full. Raises StoreUnavailable."""
        return await self._draws((bucket, rate))

    async def _draw_all(self, draws: Sequence[tuple[str, Rate]]) -> list[Allowance]:
        args: list[Value] = []
        for bucket, rate in draws:
            args += (bucket, rate.interval_us, rate.burst)
        flat = await self._call("rate_limit", args)
        return [Allowance(bool(admitted), left, gains_ms) for admitted, left, gains_ms in rows(flat, 3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action of an operator. The stream ``audit`` has an entry with these fields; its time is the entry's id."""

    action: str
    """The action, e.g. ``queue.pause``."""
    target: str
    """What it was applied to: an id, a name or a filter."""
    count: int = 1
    """Number of objects affected."""
    outcome: str = "done"
    key_id: str
    """Id of the API key; empty if the service requires none, or for the command line."""
    name: str
    """Name of the key, or of the user of the command line."""
    tenant: str
    request_id: str = ""
    at_ms: int = 0
    """Unix milliseconds by the server's clock; set once the entry is written."""


class AuditLog(Facade):
    """The last actions of operators, about 10,000 of them."""

    async def write(self, entry: AuditEntry) -> None:
        """Add an entry."""
        written = {name: value for name, value in asdict(entry).items() if name != "at_ms"}
        with store_errors():
            await self.redis.xadd(keys.AUDIT, written, maxlen=_AUDIT_KEPT, approximate=True)  # type: ignore[arg-type]

    async def last(self, count: int) -> list[AuditEntry]:
        """Return the latest ``count`` entries, oldest first."""
        with store_errors():
            entries = await self.redis.xrevrange(keys.AUDIT, count=count)
        return [_audit_entry(entry_id, raw) for entry_id, raw in reversed(entries)]


_AUDIT_FIELDS = {field.name for field in fields(AuditEntry)}


def _audit_entry(entry_id: bytes, raw: Mapping[bytes, bytes]) -> AuditEntry:
    """Parse one entry of the stream, ignoring fields of later versions."""
    texts: dict[str, Any] = {name.decode(): value.decode() for name, value in raw.items()}
    known = {name: text for name, text in texts.items() if name in _AUDIT_FIELDS}
    return AuditEntry(**known | {"count": int(texts["count"]), "at_ms": int(entry_id.partition(b"-")[0])})
