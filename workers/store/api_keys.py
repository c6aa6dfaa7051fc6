"""``ApiKeys``: who may use the HTTP service. A token is shown once, to whoever makes the key."""

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
"""For so long a revoked or expired key is listed, so that the ids in logs can be explained."""

Revocation = Literal["revoked", "before", "unknown"]


class NewKey(NamedTuple):
    """A key that was just made."""

    key: ApiKey
    token: Token


class FoundKey(NamedTuple):
    """A key, and for how many milliseconds it can still be used, by the server's clock; 0: it cannot."""

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
        """Make a key. Its token is nowhere but in what this returns. Atomic: one script.

        Args:
            name: What people will call it; two keys may have the same.
            tenant: Whose jobs it submits and sees.
            scopes: What it allows.
            rate: A limit of its own.
            expires_in: For how long it can be used; None: until it is revoked.
            if_none: Make it only if there is none that can be used; else None is returned.
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
        """Return a key, usable or not; None if there is none of this id. Calls of the same time share a round trip."""
        return await self._finds(key_id)

    async def read_all(self) -> list[FoundKey]:
        """Return all keys, the oldest first; those that ended are among them for 90 days."""
        now, *flat = await self._call("api_key_list")
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [found for key_id, raw in pairs if (found := _found(key_id.decode(), raw, int(now)))]

    async def revoke(self, key_id: str) -> Revocation:
        """Make a key unusable for good: ``revoked``, ``before`` if it had been already, ``unknown``."""
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
