"""Rate limits: the script against a model of a bucket, and what clients are told over HTTP."""

import asyncio
import re
from contextlib import AsyncExitStack
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from arqway.service.settings import ServiceSettings
from arqway.workers.contract import keys
from arqway.workers.contract.api_key import Rate
from arqway.workers.settings import Settings
from arqway.workers.store.access import Allowance, RateLimits
from arqway.workers.store.connection import open_redis
from tests.support.api_keys import bearer, make_key
from tests.support.http import OpenApi, api_client, assert_problem
from tests.support.http_jobs import JOBS
from tests.support.redis_server import valkey
from tests.support.waiting import wait_until

START_MS = 1_800_000_000_000
slow_rates = st.builds(Rate, per_s=st.sampled_from([0.001, 0.1, 0.3, 0.7, 1, 1.5]), burst=st.integers(1, 5))
"""Slow enough for the buckets to outlive the test: they expire by the server's own clock."""
rates = st.builds(Rate, per_s=st.floats(0.001, 10_000), burst=st.integers(1, 100_000))
steps = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5_000)), max_size=25)


class Bucket:
    """What a bucket is, in the plainest words: it holds so many requests, and gains them steadily."""

    def __init__(self, rate: Rate) -> None:
        self._burst = rate.burst
        self._per_ms = Fraction(1000, rate.interval_us)
        self._holds = Fraction(rate.burst)
        self._at_ms = START_MS

    def draw(self, now_ms: int) -> Allowance:
        """Take one request out, if there is one."""
        self._holds = min(Fraction(self._burst), self._holds + (now_ms - self._at_ms) * self._per_ms)
        self._at_ms = now_ms
        admitted = self._holds >= 1
        self._holds -= admitted
        left = floor(self._holds)
        return Allowance(admitted, left, ceil((left + 1 - self._holds) / self._per_ms))


class Limits:
    """Limits on a real server, by a clock that the test moves."""

    def __init__(self, url: str) -> None:
        self.now_ms = START_MS
        self._runner = asyncio.Runner()
        self._redis = open_redis(url)
        self._limits = RateLimits(self._redis, clock=lambda: self.now_ms)
        self._runner.run(self._empty())

    async def _empty(self) -> None:
        await self._redis.flushall()

    def draw(self, bucket: str, rate: Rate) -> Allowance:
        """Take one request out of a bucket."""
        return self._runner.run(self._limits.draw(bucket, rate))

    def draw_many(self, bucket: str, rate: Rate, times: int) -> list[Allowance]:
        """Take many out at the same moment, by one call of the script."""

        async def draw() -> list[Allowance]:
            return await asyncio.gather(*(self._limits.draw(bucket, rate) for _ in range(times)))

        return self._runner.run(draw())

    def close(self) -> None:
        """Leave the server."""
        self._runner.run(self._redis.aclose())
        self._runner.close()


def test_a_bucket_is_counted_exactly(redis_url: str) -> None:
    """Whatever comes when, each answer is the model's: admitted or not, what is left, and when the next one comes."""

    @given(rate=slow_rates, drawn=steps)
    @examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(rate: Rate, drawn: list[tuple[str, int]]) -> None:
        limits = Limits(redis_url)
        buckets = {"a": Bucket(rate), "b": Bucket(rate)}
        for name, pause_ms in drawn:
            limits.now_ms += pause_ms
            assert limits.draw(name, rate) == buckets[name].draw(limits.now_ms)
        limits.close()

    check()


def test_fast_and_large_buckets_are_counted_exactly(redis_url: str) -> None:
    """With any rate there can be, many at the same moment get the model's answers; the burst, and not one more."""

    @given(rate=rates, times=st.integers(1, 150))
    @example(rate=Rate(10_000, 1), times=3)
    @example(rate=Rate(0.001, 100_000), times=150)
    @examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(rate: Rate, times: int) -> None:
        limits, bucket = Limits(redis_url), Bucket(rate)
        answers = limits.draw_many("a", rate, times)
        limits.close()
        assert answers == [bucket.draw(START_MS) for _ in range(times)]
        assert sum(answer.admitted for answer in answers) == min(times, rate.burst)

    check()


@pytest.mark.parametrize("rate", [Rate(0.3, 1), Rate(0.7, 3), Rate(0.001, 2)])
def test_a_refused_request_is_admitted_when_it_was_told(redis_url: str, rate: Rate) -> None:
    """The wait is honest: a millisecond earlier it would be refused again, and then it is admitted."""
    limits = Limits(redis_url)
    while (answer := limits.draw("a", rate)).admitted:
        pass
    told_ms = answer.gains_ms
    limits.now_ms += told_ms - 1
    assert limits.draw("a", rate) == Allowance(False, 0, 1)
    limits.now_ms += 1
    assert limits.draw("a", rate).admitted
    limits.close()


def test_a_clock_that_is_set_back_shuts_nobody_out(redis_url: str) -> None:
    """After a day backwards a bucket is empty at worst, and gains the next request after one interval."""
    limits, rate = Limits(redis_url), Rate(1, 3)
    limits.draw("a", rate)
    limits.now_ms -= 86_400_000
    assert limits.draw("a", rate) == Allowance(False, 0, 1_000)
    limits.close()


async def test_two_processes_share_a_bucket(redis_url: str) -> None:
    """Over two connections at once no more than the burst is admitted, by the server's own clock."""
    rate = Rate(0.001, 50)
    async with AsyncExitStack() as stack:
        clients = [RateLimits(await stack.enter_async_context(open_redis(redis_url))) for _ in range(2)]
        answers = await asyncio.gather(*(client.draw("a", rate) for client in clients for _ in range(100)))
    assert sum(answer.admitted for answer in answers) == 50


async def test_a_bucket_is_gone_when_it_is_full(redis_url: str) -> None:
    """It leaves nothing in Redis: what is full needs no memory."""
    async with open_redis(redis_url) as redis:
        await RateLimits(redis).draw("a", Rate(100, 5))

        async def gone() -> bool:
            return not await redis.exists(keys.RATE_LIMIT_PREFIX + "a")

        await wait_until(gone, "the bucket is gone")


FIELD = re.compile(r'"default";r=(\d+);t=(\d+)')


async def test_every_answer_tells_what_is_left(api: OpenApi, settings: Settings) -> None:
    """Whatever its status, with a key that has a rate: the policy, which stays, and what is left, which counts down."""
    token = await make_key(settings, rate=Rate(0.5, 10))
    async with api(JOBS, auth="keys") as client:
        answers = [
            await client.post("/jobs/test.sum", json=[1], headers=bearer(token)),
            await client.get("/jobs/nobody", headers=bearer(token)),
            await client.post("/jobs/test.sum", json="no", headers=bearer(token)),
            await client.get("/nowhere", headers=bearer(token)),
        ]
    assert [answer.status_code for answer in answers] == [202, 404, 422, 404]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"default";q=10;w=20'}
    told = [FIELD.fullmatch(answer.headers["ratelimit"]) for answer in answers]
    assert [field[1] for field in told if field] == ["9", "8", "7", "6"]
    assert all(field and 1 <= int(field[2]) <= 2 for field in told)


async def test_too_many_requests_are_refused_with_the_time_to_wait(api: OpenApi, settings: Settings) -> None:
    """429 with Retry-After and the fields; the job of a refused request was not accepted."""
    token = await make_key(settings, rate=Rate(0.01, 2))
    async with api(JOBS, auth="keys") as client:
        answers = [await client.post("/jobs/test.sum", json=[1], headers=bearer(token)) for _ in range(3)]
    refused = answers[-1]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    problem = assert_problem(refused, 429, "rate_limited")
    assert 99 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit"] == f'"default";r=0;t={refused.headers["retry-after"]}'
    assert refused.headers["ratelimit-policy"] == '"default";q=2;w=200'
    assert refused.headers["retry-after"] in problem["detail"]


async def test_keys_do_not_share_a_bucket(api: OpenApi, settings: Settings) -> None:
    """One key's requests cost another nothing, and neither do those without a good key."""
    one, other = [await make_key(settings, rate=Rate(0.01, 1)) for _ in range(2)]
    async with api(JOBS, auth="keys") as client:
        statuses = [(await client.get("/jobs/a", headers=bearer(token))).status_code for token in (one, one, other)]
        stranger = await client.get("/jobs/a")
    assert statuses == [404, 429, 404]
    assert stranger.status_code == 401
    assert "ratelimit" not in stranger.headers


async def test_probes_are_never_refused(api: OpenApi, settings: Settings) -> None:
    """What needs no key draws on no bucket, also with one in the request."""
    token = await make_key(settings, rate=Rate(0.01, 1))
    async with api(JOBS, auth="keys") as client:
        probes = [await client.get("/livez", headers=bearer(token)) for _ in range(3)]
    assert {probe.status_code for probe in probes} == {200}
    assert "ratelimit" not in probes[0].headers


async def test_the_setting_is_for_keys_without_a_rate(api: OpenApi, settings: Settings) -> None:
    """A key's own rate wins over ARQWAY_RATE_LIMIT."""
    plain, own = await make_key(settings), await make_key(settings, rate=Rate(5, 7))
    async with api(JOBS, auth="keys", rate_limit="0.01/s burst 3") as client:
        policies = [
            (await client.get("/jobs/a", headers=bearer(token))).headers["ratelimit-policy"] for token in (plain, own)
        ]
    assert policies == ['"default";q=3;w=300', '"default";q=7;w=2']


async def test_without_keys_the_setting_is_for_all_together(api: OpenApi) -> None:
    """A service that asks for no keys has one bucket for everybody, and without the setting none."""
    async with api(JOBS, rate_limit="0.01/s burst 1") as client:
        assert [(await client.get("/jobs/a")).status_code for _ in range(2)] == [404, 429]
    async with api(JOBS) as client:
        assert "ratelimit" not in (await client.get("/jobs/a")).headers


async def test_a_limit_is_no_way_in_without_redis(nowhere: ServiceSettings) -> None:
    """While Redis cannot count, a limited key gets 503: nothing is let through uncounted."""
    with valkey() as server:
        settings = ServiceSettings.model_validate({**nowhere.model_dump(), "redis_url": server.url, "auth": "keys"})
        token = await make_key(settings, rate=Rate(100, 100))
        async with api_client(settings, JOBS) as client:
            assert_problem(await client.post("/jobs/nope", headers=bearer(token)), 404, "unknown_kind")
            server.stop()
            assert_problem(await client.post("/jobs/nope", headers=bearer(token)), 503, "store_unavailable")
            server.start()


@pytest.mark.parametrize("text", ["100", "100/m", "0/s"])
def test_a_setting_that_is_no_rate_is_refused(text: str) -> None:
    """The service does not start with it."""
    with pytest.raises(ValueError, match="rate"):
        ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1", "rate_limit": text})
