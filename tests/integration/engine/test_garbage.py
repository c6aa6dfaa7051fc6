"""Whatever somebody else writes under the keys of one job, the other jobs of its queue run, and can be read."""

import random
from collections.abc import Callable

import pytest
from redis import Redis

from arqway import JobState, Registry
from arqway.workers.client import JobQueue, open_queue
from arqway.workers.contract import keys
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from tests.support.jobs import Number, double

VICTIM = "victim"
KEYS = {
    "record": keys.record(VICTIM),
    "events": keys.events(VICTIM),
    "steps": keys.steps(VICTIM),
    "lease": keys.lease(VICTIM),
    "envelope": keys.envelope(VICTIM),
    "retry": f"arq:retry:{VICTIM}",
    "aborts": keys.ARQ_ABORT,
}
NOISE = random.Random(7).randbytes(40) + b"\xff\xfe\x00"
WRITES: dict[str, Callable[[Redis, str], object]] = {
    "string": lambda client, key: client.set(key, NOISE),
    "list": lambda client, key: client.rpush(key, NOISE),
    "set": lambda client, key: client.sadd(key, NOISE),
    "zset": lambda client, key: client.zadd(key, {NOISE: 1}),
    "hash": lambda client, key: client.hset(key, mapping={"state": NOISE, "attempt": "many", NOISE: NOISE}),
    "stream": lambda client, key: client.xadd(key, {NOISE: NOISE}),
}
ENVELOPES = [
    b"",
    b"\x80\x04N.",
    b"null",
    b"[]",
    b'{"f": "\xff\xfe", "a": [], "k": {}, "et": 1}',
    b'{"f": "test.double\xed\xa0\x80", "a": [1], "k": {}, "et": 1}',
    b'{"f": "' + b"x" * 100_000 + b'", "a": [], "k": {}, "et": 1}',
    b'{"f": {}, "a": 7, "k": [], "et": "never"}',
    b'{"f": "test.double", "a": [{"value": 1e999}], "k": {}, "et": -1e308}',
]
REGISTRY = Registry([double])


async def others_run(settings: Settings, queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    """Submit jobs beside the victim, run a worker until the queue has nothing that is due, and read them together."""
    ids = await queue.submit_many(double, [Number(value=n) for n in range(3)])
    worker = JobWorker(registry=REGISTRY, settings=settings, handle_signals=False, burst=True, max_burst_jobs=6)
    await worker.async_run()
    await worker.close()
    found = await queue._store.read_many([VICTIM, *ids])
    assert [record.result for record in found[1:] if record] == [0, 2, 4]
    assert not [line.message for line in caplog.records if "refused to store" in line.message]


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("place", KEYS)
async def test_values_of_any_type_under_any_key(
    redis_url: str, settings: Settings, place: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A value of each type under each key of a job that is due."""
    with Redis.from_url(redis_url) as client:
        async with open_queue(settings, REGISTRY) as queue:
            await queue.submit(double, Number(value=5), job_id=VICTIM)
            client.delete(KEYS[place])
            WRITES[kind](client, KEYS[place])
            await others_run(settings, queue, caplog)
        client.flushall()


@pytest.mark.parametrize("number", range(len(ENVELOPES)))
async def test_envelopes_that_cannot_be_read_end_alone(
    redis_url: str, settings: Settings, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A stock producer's entry that is no envelope fails as ``invalid_payload``, unlike those around it."""
    with Redis.from_url(redis_url) as client:
        client.set(f"arq:job:{VICTIM}", ENVELOPES[number])
        client.zadd("arq:queue", {VICTIM: 1})
        async with open_queue(settings, REGISTRY) as queue:
            await others_run(settings, queue, caplog)
            record = await queue.read(VICTIM)
        client.flushall()
    assert record.state is JobState.FAILED
    assert record.failure is not None
    assert record.failure.code == "invalid_payload"


async def test_an_id_that_is_no_text_is_dropped(
    redis_url: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody could read, cancel or settle such a job."""
    with Redis.from_url(redis_url) as client:
        client.zadd("arq:queue", {b"\xff\xfe": 1, b"\x00" * 10: 2})
        async with open_queue(settings, REGISTRY) as queue:
            await others_run(settings, queue, caplog)
        assert client.zscore("arq:queue", b"\xff\xfe") is None
        client.flushall()
