"""API keys over HTTP: who gets in, who does not and why, and that no secret ever gets out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from redis import Redis

from arqway.service.access.callers import Caller, KeyHolders
from arqway.service.problems.errors import InvalidToken, Unauthenticated
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import Access, open_access
from arqway.workers.contract.api_key import ALL_SCOPES, Scope
from arqway.workers.settings import Settings
from arqway.workers.store.access import ApiKeys
from arqway.workers.store.connection import open_redis
from tests.support.api_keys import bearer, make_key, revoke
from tests.support.http import OpenApi, api_client, assert_problem
from tests.support.http_jobs import JOBS
from tests.support.redis_server import valkey

UNKNOWN = f"arqway_{'0' * 12}_{'0' * 64}"
PLAIN, INVALID = 'Bearer realm="arqway"', 'Bearer realm="arqway", error="invalid_token"'
PUBLIC = ["/livez", "/readyz", "/docs", "/redoc", "/openapi.json", "/problems", "/problems/unauthenticated"]


@pytest.fixture
async def locked(api: OpenApi) -> AsyncIterator[AsyncClient]:
    """A service that asks for keys."""
    async with api(JOBS, auth="keys") as client:
        yield client


@pytest.fixture
async def access(settings: Settings) -> AsyncIterator[Access]:
    """The keys of that service."""
    async with open_access(settings) as access:
        yield access


@pytest.mark.parametrize("path", PUBLIC)
async def test_probes_and_documentation_need_no_key(locked: AsyncClient, path: str) -> None:
    """Whatever is sent with the request."""
    assert (await locked.get(path)).status_code == 200
    assert (await locked.get(path, headers=bearer(UNKNOWN))).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nope", "/jobs/", "/livez/", "//livez", "/livez/../jobs/a", "/problem"])
async def test_a_path_that_is_not_public_is_locked(locked: AsyncClient, path: str) -> None:
    """Also one that leads nowhere: a stranger learns nothing of what there is."""
    assert_problem(await locked.get(path), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("sent", "challenge"),
    [
        (["Basic dXNlcjpwYXNz"], PLAIN),
        ([""], PLAIN),
        (["Bearer"], PLAIN),
        ([UNKNOWN], PLAIN),
        (["Bearer nonsense"], INVALID),
        (["Bearer größe"], INVALID),
        ([f"Bearer {UNKNOWN}"], INVALID),
        ([f"Bearer {UNKNOWN}", f"Bearer {UNKNOWN}"], INVALID),
    ],
)
async def test_what_is_no_key_is_refused(locked: AsyncClient, sent: list[str], challenge: str) -> None:
    """401; the header tells one that sent a token that it is no good, after RFC 6750."""
    refused = await locked.get("/jobs/a", headers=[(b"authorization", value.encode("latin-1")) for value in sent])
    assert_problem(refused, 401, "unauthenticated")
    assert refused.headers["www-authenticate"] == challenge


async def test_the_secret_must_be_that_of_the_id(locked: AsyncClient, settings: Settings) -> None:
    """The id of one key with the secret of another opens nothing, and the scheme may be written in any case."""
    one, other = await make_key(settings), await make_key(settings)
    mixed = f"{one[:19]}{other[19:]}"

    assert (await locked.get("/jobs/a", headers={"authorization": f"bEARER   {one}"})).status_code == 404
    assert_problem(await locked.get("/jobs/a", headers=bearer(mixed)), 401, "unauthenticated")


async def test_two_keys_in_one_request_are_none(locked: AsyncClient, settings: Settings) -> None:
    """A good key beside another header of the name is refused: a proxy may have read the other one."""
    headers = [("authorization", f"Bearer {await make_key(settings)}"), ("authorization", f"Bearer {UNKNOWN}")]
    for sent in (headers, headers[::-1]):
        assert_problem(await locked.get("/jobs/a", headers=sent), 401, "unauthenticated")


async def test_a_key_that_ended_is_refused(locked: AsyncClient, settings: Settings) -> None:
    """A revoked one, and an expired one, at once where they were not in use."""
    revoked, expired = await make_key(settings), await make_key(settings, expires_in=timedelta(milliseconds=1))
    await revoke(settings, revoked)
    for token in (revoked, expired):
        refused = await locked.get("/jobs/a", headers=bearer(token))
        assert_problem(refused, 401, "unauthenticated")
        assert refused.headers["www-authenticate"] == INVALID


class Clock:
    """Seconds that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def asks(token: str) -> dict[str, Any]:
    """Return the connection of a request with this token."""
    return {"path": "/jobs/a", "headers": [(b"authorization", f"Bearer {token}".encode())]}


async def test_a_revoked_key_lives_on_for_five_seconds(access: Access, settings: Settings) -> None:
    """A process that knows it lets it in until then and no longer; what it knows is looked up once in that time."""
    clock, token = Clock(), await make_key(settings, tenant="t1")
    holders = KeyHolders(access.keys.find, clock=clock)
    caller = await holders(asks(token))
    await revoke(settings, token)

    clock.now_s = 4.999
    assert await holders(asks(token)) is caller
    clock.now_s = 5.0
    with pytest.raises(InvalidToken):
        await holders(asks(token))


async def test_a_key_is_not_believed_beyond_its_end(redis_url: str) -> None:
    """One that expires sooner than in five seconds is refused from that moment on."""
    clock = Clock()
    async with open_redis(redis_url) as redis:
        api_keys = ApiKeys(redis, clock=lambda: 2_000_000_000_000 + int(clock.now_s * 1000))
        made = await api_keys.create("n", tenant="t", scopes=ALL_SCOPES, expires_in=timedelta(seconds=2))
        assert made is not None
        holders, asked = KeyHolders(api_keys.find, clock=clock), asks(made.token.reveal())
        caller = await holders(asked)
        clock.now_s = 1.999
        assert await holders(asked) is caller
        clock.now_s = 2.0
        with pytest.raises(InvalidToken):
            await holders(asked)


async def test_what_is_known_is_bounded(access: Access, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes when there are too many, and wrong tokens take no place at all."""
    monkeypatch.setattr("arqway.service.access.callers._KNOWN_MAX", 3)
    holders = KeyHolders(access.keys.find)
    tokens = [await make_key(settings) for _ in range(5)]
    for token in tokens:
        await holders(asks(token))
        with pytest.raises(InvalidToken):
            await holders(asks(token[:-1] + ("0" if token[-1] != "0" else "1")))
    kept = list(holders._known)

    assert len(kept) == 3
    await holders(asks(tokens[-1]))
    assert list(holders._known) == kept
    assert not [known for known in kept if any(token.encode() in known for token in tokens)]


async def test_a_caller_is_what_the_key_says(access: Access, settings: Settings) -> None:
    """Tenant, scopes, id and name are the key's."""
    token = await make_key(settings, Scope.READ, tenant="t1")
    caller = await KeyHolders(access.keys.find)(asks(token))
    assert caller == Caller("t1", [Scope.READ], name="test", key_id=token.split("_")[1])
    with pytest.raises(Unauthenticated):
        await KeyHolders(access.keys.find)({"path": "/jobs/a", "headers": []})


async def test_known_callers_get_on_without_redis(nowhere: ServiceSettings) -> None:
    """While Redis is away a key that is known gets to the routes, and one that is not gets 503; nobody gets 401."""
    with valkey() as server:
        settings = ServiceSettings.model_validate({**nowhere.model_dump(), "redis_url": server.url, "auth": "keys"})
        known, unknown = await make_key(settings), await make_key(settings)
        async with api_client(settings, JOBS) as client:
            await client.post("/jobs/nope", headers=bearer(known))
            server.stop()
            assert_problem(await client.post("/jobs/nope", headers=bearer(known)), 404, "unknown_kind")
            refused = await client.post("/jobs/nope", headers=bearer(unknown))
            server.start()
            back = await client.post("/jobs/nope", headers=bearer(unknown))

    assert_problem(refused, 503, "store_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert_problem(back, 404, "unknown_kind")


async def test_many_at_once_share_a_lookup(locked: AsyncClient, settings: Settings, redis_url: str) -> None:
    """A hundred first requests of one key all get in, with two commands to Redis at most."""
    warm, token = await make_key(settings), await make_key(settings)
    await locked.post("/jobs/nope", headers=bearer(warm))
    with Redis.from_url(redis_url, decode_responses=True) as client:
        client.config_resetstat()
        answers = await asyncio.gather(*(locked.post("/jobs/nope", headers=bearer(token)) for _ in range(100)))
        stats: Any = client.info("commandstats")

    assert {answer.status_code for answer in answers} == {404}
    assert 1 <= stats["cmdstat_evalsha"]["calls"] <= 2


async def test_no_secret_gets_out(
    api: OpenApi, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a part of a token is in any answer or log line, whether it is good, refused, misplaced or met by a bug."""
    good, narrow, revoked = await make_key(settings), await make_key(settings, Scope.SUBMIT), await make_key(settings)
    await revoke(settings, revoked)
    mixed = f"{good[:19]}_{revoked[20:]}"
    tokens = [good, narrow, revoked, mixed]
    answers = []
    with caplog.at_level(logging.DEBUG):
        async with api(JOBS, auth="keys") as client:
            for token in tokens:
                answers += [await client.get("/jobs/a", headers=bearer(token))]
                answers += [await client.post("/jobs/test.sum", json=[], headers=bearer(token))]
                answers += [await client.get("/jobs/a", headers={"authorization": f"Bearer {token} {token}"})]
                answers += [await client.get("/jobs/a", headers={"authorization": f"Basic {token}"})]
            monkeypatch.setattr("arqway.service.http.routing.authorise", _broken)
            answers += [await client.get("/jobs/a", headers=bearer(good))]

    assert {answer.status_code for answer in answers} == {202, 401, 403, 404, 500}
    told = caplog.text + str([vars(record) for record in caplog.records])
    told += "".join(f"{answer.headers}{answer.text}" for answer in answers)
    for token in tokens:
        secret = token.split("_")[2]
        assert secret not in told
        assert secret[:16] not in told
        assert secret[-16:] not in told


def _broken(*_: object) -> Caller:
    raise RuntimeError("a bug")


async def test_the_log_says_whose_request_it_was(
    locked: AsyncClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A request's line has the id of its key."""
    token = await make_key(settings)
    with caplog.at_level(logging.INFO, "arqway.service"):
        await locked.get("/jobs/a", headers=bearer(token))
        await locked.get("/jobs/a")
    lines = [vars(record) for record in caplog.records if record.getMessage() == "Request"]
    assert [line.get("key_id") for line in lines] == [token.split("_")[1], None]
