"""API keys: the format of tokens, what a key permits, and its representation in the hash ``api-key:{id}``.

A token is ``arqway_{id}_{secret}``. The id identifies the key, the secret authenticates it. Redis stores only the
secret's SHA-256. A slow hash protects passwords that people choose; 256 random bits cannot be guessed, however fast a
single try is. It would only slow down first requests and let strangers keep the service busy with wrong tokens.

================  =====================================================================================
field             value
================  =====================================================================================
``digest``        SHA-256 of the secret, in hex
``name``          display name
``tenant``        the tenant whose jobs it submits and sees
``scopes``        separated by spaces: ``submit``, ``read``, ``operate``
``rate``          a ``Rate`` as text; absent: the service's default
``created_ms``    Unix time in milliseconds by the clock of the Redis server, as all ``_ms`` fields
``expires_ms``    when it expires; absent: never
``revoked_ms``    when it was revoked; absent: it was not
================  =====================================================================================
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    """A permission that a key may have."""

    SUBMIT = "submit"
    """Submit jobs and batches, and cancel them."""
    READ = "read"
    """Read and follow jobs and batches, and fetch the files they produced."""
    OPERATE = "operate"
    """Retry, redrive and pause, and see the text of exceptions, which may contain secrets."""


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit on requests: ``burst`` at once and ``per_s`` per second in the long run.

    Args:
        per_s: From 0.001 to 10,000.
        burst: From 1 to 100,000.

    Raises:
        ValueError: A value is out of range.
    """

    per_s: float
    burst: int

    def __post_init__(self) -> None:
        if not _PER_S_MIN <= self.per_s <= _PER_S_MAX:
            raise ValueError(f"a rate must be from {_PER_S_MIN} to {_PER_S_MAX} requests per second")
        if not 1 <= self.burst <= _BURST_MAX:
            raise ValueError(f"a burst must be from 1 to {_BURST_MAX} requests")

    @property
    def interval_us(self) -> int:
        """Microseconds between requests in the long run; an integer, so that Lua calculates exactly."""
        return round(1_000_000 / self.per_s)

    @classmethod
    def of(cls, per_s: float, burst: int | None = None) -> Self:
        """Return a rate; ``burst`` defaults to one second's worth of requests, at least 1."""
        in_a_second = int(min(per_s, _PER_S_MAX)) if per_s >= 1 else 1
        return cls(per_s, in_a_second if burst is None else burst)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``100/s`` or ``100/s burst 200``. Raises ValueError."""
        if (read := _RATE.fullmatch(text)) is None:
            raise ValueError("a rate must have the form 100/s or 100/s burst 200")
        return cls.of(float(read[1]), None if read[2] is None else int(read[2]))

    def __str__(self) -> str:
        return f"{repr(float(self.per_s)).removesuffix('.0')}/s burst {self.burst}"


@dataclass(frozen=True, slots=True)
class Token:
    """The token that the holder of a key sends. Its ``repr`` omits the secret."""

    id: str
    secret: str = field(repr=False)

    @property
    def digest(self) -> str:
        """The digest of the secret, as stored in Redis."""
        return sha256(self.secret.encode()).hexdigest()

    def reveal(self) -> str:
        """Return the token as its holder sends it."""
        return f"arqway_{self.id}_{self.secret}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse a token as returned by ``reveal``; None for anything else."""
        read = _TOKEN.fullmatch(text)
        return cls(read[1], read[2]) if read else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as stored in Redis."""

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
        """Return how many ms the key remains usable: 0 if it is revoked or expired, 100 years if it never expires."""
        if self.revoked_ms is not None:
            return 0
        return _FOREVER_MS if self.expires_ms is None else max(0, self.expires_ms - now_ms)

    def to_hash(self) -> dict[str, str]:
        """Return the fields of ``api-key:{id}`` except the times, which the server sets."""
        rate = {} if self.rate is None else {"rate": str(self.rate)}
        scopes = " ".join(sorted(self.scopes))
        return {"digest": self.digest, "name": self.name, "tenant": self.tenant, "scopes": scopes, **rate}

    @classmethod
    def from_hash(cls, key_id: str, raw: Mapping[str, str]) -> Self:
        """Read the fields of ``api-key:{id}``, ignoring fields and scopes of later versions."""
        known: dict[str, Any] = {name: _DECODERS[name](text) for name, text in raw.items() if name in _DECODERS}
        return cls(id=key_id, **known)


def proves(token: Token, key: ApiKey | None) -> bool:
    """Return whether ``token`` belongs to ``key`` (None: no such key), in a time that reveals nothing about either."""
    return compare_digest(token.digest, _NOBODYS_DIGEST if key is None else key.digest)


def is_key_name(name: str) -> bool:
    """Return whether ``name`` is a valid name: 1 to 64 printable characters without surrounding white space."""
    return 0 < len(name) <= _NAME_CHARS and name.isprintable() and name == name.strip()


_DECODERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(["digest", "name", "tenant"], str),
    **dict.fromkeys(["created_ms", "expires_ms", "revoked_ms"], int),
    "scopes": lambda text: frozenset(scope for scope in Scope if scope in text.split()),
    "rate": Rate.parse,
}
