"""API keys: how a token reads, what a key may do, and how it lies in the hash ``api-key:{id}``.

A token is ``arqway_{id}_{secret}``. The id finds the key, the secret proves it. Redis holds the secret's SHA-256 only,
and no slow hash: those protect what people think up, while nobody can try 256 random bits through, however fast one try
is. A slow hash would only make each first request slow, and strangers able to keep the service busy with wrong tokens.

================  =====================================================================================
field             value
================  =====================================================================================
``digest``        SHA-256 of the secret, in hex
``name``          what people call it
``tenant``        whose jobs it submits and sees
``scopes``        separated by spaces: ``submit``, ``read``, ``operate``
``rate``          a ``Rate`` as text; absent: the service's own
``created_ms``    Unix time, as all ``_ms`` fields: milliseconds by the clock of the Redis server
``expires_ms``    from when on it cannot be used; absent: never
``revoked_ms``    when it was revoked; absent: it was not
================  =====================================================================================
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Self

_TOKEN = re.compile(r"arqway_([0-9a-f]{12})_([0-9a-f]{64})")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/s(?: burst ([0-9]+))?")
_PER_S_MIN, _PER_S_MAX, _BURST_MAX = 0.001, 10_000, 100_000
_NAME_CHARS = 64
_NOBODYS_DIGEST = "0" * 64
_FOREVER_MS = 100 * 365 * 86_400_000


class Scope(StrEnum):
    """What a key allows."""

    SUBMIT = "submit"
    """Submit jobs and batches, and cancel them."""
    READ = "read"
    """Read and follow them, and fetch what they made."""
    OPERATE = "operate"
    """Retry, redrive, pause, and see what may hold secrets: the text of exceptions."""


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit on requests: ``burst`` at once and, in the long run, ``per_s`` a second.

    Args:
        per_s: 0.001 to 10,000; else ValueError.
        burst: 1 to 100,000; else ValueError.
    """

    per_s: float
    burst: int

    def __post_init__(self) -> None:
        if not _PER_S_MIN <= self.per_s <= _PER_S_MAX:
            raise ValueError(f"a rate is from {_PER_S_MIN} to {_PER_S_MAX} requests a second")
        if not 1 <= self.burst <= _BURST_MAX:
            raise ValueError(f"a burst is from 1 to {_BURST_MAX} requests")

    @property
    def interval_us(self) -> int:
        """Microseconds from one request to the next in the long run; whole ones, so that Lua's numbers are exact."""
        return round(1_000_000 / self.per_s)

    @classmethod
    def of(cls, per_s: float, burst: int | None = None) -> Self:
        """Return the rate; ``burst`` is by default what one second allows."""
        in_a_second = int(min(per_s, _PER_S_MAX)) if per_s >= 1 else 1
        return cls(per_s, in_a_second if burst is None else burst)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100/s`` or ``100/s burst 200``. Raises ValueError."""
        read = _RATE.fullmatch(text)
        if read is None:
            raise ValueError("a rate is written like 100/s or 100/s burst 200")
        return cls.of(float(read[1]), None if read[2] is None else int(read[2]))

    def __str__(self) -> str:
        return f"{repr(float(self.per_s)).removesuffix('.0')}/s burst {self.burst}"


@dataclass(frozen=True, slots=True)
class Token:
    """What the holder of a key sends. Its secret shows in no ``repr``."""

    id: str
    secret: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What Redis holds of the secret."""
        return sha256(self.secret.encode()).hexdigest()

    def reveal(self) -> str:
        """Return the token as its holder must send it."""
        return f"arqway_{self.id}_{self.secret}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``reveal`` wrote; None for anything else."""
        read = _TOKEN.fullmatch(text)
        return cls(read[1], read[2]) if read else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as Redis holds it."""

    id: str
    digest: str = field(repr=False)
    name: str
    tenant: str
    scopes: frozenset[Scope]
    rate: Rate | None = None
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None

    def usable_ms(self, now_ms: int) -> int:
        """Return for how long it can still be used, revocation apart; 0 if it cannot, 100 years if it never expires."""
        if self.revoked_ms is not None:
            return 0
        return _FOREVER_MS if self.expires_ms is None else max(0, self.expires_ms - now_ms)

    def to_hash(self) -> dict[str, str]:
        """Return the fields of ``api-key:{id}`` but for the times, which the server writes."""
        rate = {} if self.rate is None else {"rate": str(self.rate)}
        scopes = " ".join(sorted(self.scopes))
        return {"digest": self.digest, "name": self.name, "tenant": self.tenant, "scopes": scopes, **rate}

    @classmethod
    def from_hash(cls, key_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``api-key:{id}``; fields and scopes of a later version are passed over."""
        known: dict[str, Any] = {name: _DECODERS.get(name, str)(text) for name, text in raw.items() if name in _FIELDS}
        return cls(id=key_id, **known)


def proves(token: Token, key: ApiKey | None) -> bool:
    """Tell whether ``token`` is that of ``key``, in a time that tells nothing of either; None: there is no such key."""
    return compare_digest(token.digest, _NOBODYS_DIGEST if key is None else key.digest)


def is_key_name(name: str) -> bool:
    """Tell whether ``name`` may name a key: 1 to 64 characters that can be printed, with no space around them."""
    return 0 < len(name) <= _NAME_CHARS and name.isprintable() and name == name.strip()


def _scopes(text: str) -> frozenset[Scope]:
    words = text.split()
    return frozenset(scope for scope in Scope if scope in words)


_FIELDS = frozenset(part.name for part in fields(ApiKey) if part.name != "id")
_DECODERS: Mapping[str, Any] = {
    "scopes": _scopes,
    "rate": Rate.parse,
    **dict.fromkeys(["created_ms", "expires_ms", "revoked_ms"], int),
}
