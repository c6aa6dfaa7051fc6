"""API keys in Redis: made once, found, listed, revoked; and what a thief of the database would have."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.api_key import ALL_SCOPES, Rate, Scope, proves
from arqway.workers.store.access import ApiKeys, FoundKey
from arqway.workers.store.connection import open_redis

READ = frozenset({Scope.READ})


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    """The time by which keys expire."""
    return Clock()


@pytest.fixture
async def api_keys(redis_url: str, clock: Clock) -> AsyncIterator[ApiKeys]:
    """The keys of the test's own server."""
    redis = open_redis(redis_url)
    yield ApiKeys(redis, clock=clock)
    await redis.aclose()


async def found(api_keys: ApiKeys, key_id: str) -> FoundKey:
    """Return a key that is there."""
    key = await api_keys.find(key_id)
    assert key is not None
    return key


async def test_a_key_is_found_as_it_was_made(api_keys: ApiKeys, clock: Clock) -> None:
    """All that was said of it is kept, and its token proves it."""
    rate, day = Rate(50, 100), timedelta(days=1)
    made = await api_keys.create("shop", tenant="t1", scopes=READ, rate=rate, expires_in=day)
    assert made is not None
    key, usable_ms = await found(api_keys, made.token.id)

    assert key == made.key
    assert proves(made.token, key)
    assert (key.name, key.tenant, key.scopes, key.rate) == ("shop", "t1", READ, rate)
    assert (key.created_ms, key.expires_ms, usable_ms) == (clock.now_ms, clock.now_ms + 86_400_000, 86_400_000)
    assert await api_keys.find("0" * 12) is None


async def test_redis_never_holds_a_secret(api_keys: ApiKeys, redis_url: str) -> None:
    """Nothing that is stored has the secret in it, nor the token."""
    made = await api_keys.create("shop", tenant="t1", scopes=ALL_SCOPES)
    assert made is not None
    with Redis.from_url(redis_url) as client:
        stored = b"".join(client.dump(key) or b"" for key in client.scan_iter())
        stored += str(client.hgetall(keys.API_KEY_PREFIX + made.token.id)).encode()

    assert made.token.digest.encode() in stored
    assert made.token.secret.encode() not in stored


async def test_no_two_keys_are_alike(api_keys: ApiKeys) -> None:
    """Each has an id and a secret of its own, also where all was said the same."""
    made = [await api_keys.create("shop", tenant="t1", scopes=READ) for _ in range(20)]
    assert len({key.token.id for key in made if key}) == len({key.token.secret for key in made if key}) == 20


async def test_a_revoked_key_cannot_be_used_again(api_keys: ApiKeys) -> None:
    """It stays listed, with when that was; a second time changes nothing, and an unknown one is told."""
    made = await api_keys.create("shop", tenant="t1", scopes=READ)
    assert made is not None
    answers = [await api_keys.revoke(made.token.id) for _ in range(2)]
    key, usable_ms = await found(api_keys, made.token.id)

    assert answers == ["revoked", "before"]
    assert (key.revoked_ms is not None, usable_ms) == (True, 0)
    assert [listed.key.id for listed in await api_keys.read_all()] == [made.token.id]
    assert await api_keys.revoke("0" * 12) == "unknown"


async def test_a_key_expires_at_its_moment(api_keys: ApiKeys, clock: Clock) -> None:
    """A millisecond before it can be used, then it cannot."""
    made = await api_keys.create("shop", tenant="t1", scopes=READ, expires_in=timedelta(seconds=10))
    assert made is not None
    clock.now_ms += 9_999
    assert (await found(api_keys, made.token.id)).usable_ms == 1
    clock.now_ms += 1
    assert (await found(api_keys, made.token.id)).usable_ms == 0


async def test_a_key_that_ended_is_forgotten_in_the_end(api_keys: ApiKeys, redis_url: str) -> None:
    """90 days after its end at the latest; its place in the list goes with the next look at it."""
    revoked = await api_keys.create("revoked", tenant="t", scopes=READ)
    expiring = await api_keys.create("expiring", tenant="t", scopes=READ, expires_in=timedelta(days=1))
    assert revoked is not None
    assert expiring is not None
    await api_keys.revoke(revoked.token.id)
    with Redis.from_url(redis_url) as client:
        name = keys.API_KEY_PREFIX + revoked.token.id
        assert 0 < client.pttl(name) <= 90 * 86_400_000
        ends_ms = client.pexpiretime(keys.API_KEY_PREFIX + expiring.token.id)
        assert ends_ms == expiring.key.expires_ms + 90 * 86_400_000  # type: ignore[operator]
        client.delete(name)
        assert [listed.key.name for listed in await api_keys.read_all()] == ["expiring"]
        assert client.zrange(keys.API_KEYS, 0, -1) == [expiring.token.id.encode()]


async def test_keys_are_listed_in_the_order_they_were_made(api_keys: ApiKeys, clock: Clock) -> None:
    """The oldest first."""
    for name in ("c", "a", "b"):
        await api_keys.create(name, tenant="t", scopes=READ)
        clock.now_ms += 1
    assert [listed.key.name for listed in await api_keys.read_all()] == ["c", "a", "b"]


async def test_a_first_key_is_made_once(api_keys: ApiKeys) -> None:
    """However many ask at once for a key if there is none, one is made."""
    asked = [api_keys.create("first", tenant="t", scopes=READ, if_none=True) for _ in range(10)]
    made = await asyncio.gather(*asked)
    assert sum(key is not None for key in made) == 1


async def test_a_key_that_has_ended_is_none(api_keys: ApiKeys, clock: Clock) -> None:
    """Where all keys are revoked or expired, another first one is made."""
    first = await api_keys.create("first", tenant="t", scopes=READ, if_none=True)
    assert first is not None
    await api_keys.revoke(first.token.id)
    assert await api_keys.create("second", tenant="t", scopes=READ, if_none=True, expires_in=timedelta(seconds=1))
    assert not await api_keys.create("third", tenant="t", scopes=READ, if_none=True)
    clock.now_ms += 1_000
    assert await api_keys.create("third", tenant="t", scopes=READ, if_none=True)


async def test_lookups_at_once_share_a_round_trip(api_keys: ApiKeys, redis_url: str) -> None:
    """A hundred at once, of one key and of another, are one command to Redis, and each gets its own answer."""
    made = await api_keys.create("shop", tenant="t", scopes=READ)
    assert made is not None
    await api_keys.find(made.token.id)
    with Redis.from_url(redis_url, decode_responses=True) as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        answers = await asyncio.gather(*(api_keys.find(key_id) for key_id in [made.token.id, "0" * 12] * 50))
        after = client.info("commandstats")["cmdstat_evalsha"]["calls"]

    assert after - before == 1
    assert [None if answer is None else answer.key.id for answer in answers] == [made.token.id, None] * 50
