"""``ApiKeys``: the API keys of the HTTP service. A token is shown only once, when its key is created."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from secrets import token_hex
from typing import Literal, NamedTuple

from redis.asyncio import Redis

from arqway.workers.contract.api_key import ApiKey, Rate, Scope, Token
from arqway.workers.store.batcher import Batcher
from arqway.workers.store.facade import Clock, Facade, server_clock
from arqway.workers.store.script import Value

_KEPT_AFTER_END = timedelta(days=90)
"""How long a revoked or expired key is still listed, so that ids in logs can be explained."""

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
        self._finds = Batcher(self._find_many)

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
        life_ms = 0 if expires_in is None else _ms(expires_in)
        made_ms = await self._write(key, life_ms, if_none)
        if not made_ms:
            return None
        expires_ms = made_ms + life_ms if life_ms else None
        return NewKey(replace(key, created_ms=made_ms, expires_ms=expires_ms), token)

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
        answer: bytes = await self._call("api_key_revoke", [key_id, _ms(_KEPT_AFTER_END)])
        return answer.decode()  # type: ignore[return-value]

    async def _write(self, key: ApiKey, life_ms: int, if_none: bool) -> int:
        args: list[Value] = [key.id, life_ms, _ms(_KEPT_AFTER_END), int(if_none)]
        for name, value in key.to_hash().items():
            args += (name, value)
        return int(await self._call("api_key_create", args))

    async def _find_many(self, key_ids: Sequence[str]) -> Sequence[FoundKey | None]:
        asked = list(dict.fromkeys(key_ids))
        now, *hashes = await self._call("api_key_read", asked)
        found = {key_id: _found(key_id, raw, int(now)) for key_id, raw in zip(asked, hashes, strict=True)}
        return [found[key_id] for key_id in key_ids]


def _found(key_id: str, flat: Sequence[bytes], now_ms: int) -> FoundKey | None:
    texts = [part.decode() for part in flat]
    if not texts:
        return None
    key = ApiKey.from_hash(key_id, dict(zip(texts[::2], texts[1::2], strict=True)))
    return FoundKey(key, key.usable_ms(now_ms))


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
