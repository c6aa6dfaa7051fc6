"""``arqway convert --pickle``: what a pickling producer left becomes JSON, or stays as it is; nothing is lost."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from signal import SIGTERM
from typing import Any

import pytest
from arq import func
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker

from arqway.workers.client.conversion import convert
from arqway.workers.contract import envelope
from arqway.workers.store.envelopes import Envelopes, Replacement
from tests.support import docs
from tests.support.arq_workers import MakeWorker, add, submitted
from tests.support.pickles import MORE_THAN_JSON, PLAIN, pickled
from tests.support.waiting import wait_until

CONVERT = (sys.executable, "-m", "arqway.service.cli", "convert")


@pytest.fixture
async def pickling(redis_url: str) -> AsyncIterator[ArqRedis]:
    """A producer as arq makes it by default."""
    pool = await create_pool(RedisSettings.from_dsn(redis_url))
    yield pool
    await pool.aclose()


@pytest.fixture(autouse=True)
def _server(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)


def _calls() -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return 420 calls that JSON can carry: plain, nested and keyword arguments, and some for later."""
    plain: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((n, PLAIN[n % len(PLAIN)]), {}) for n in range(300)]
    keywords: list[Any] = [((n,), {"value": {"n": [n]}}) for n in range(300, 360)]
    later: list[Any] = [((n,), {"_defer_by": timedelta(seconds=2)}) for n in range(360, 400)]
    much_later: list[Any] = [((n,), {"_defer_by": timedelta(hours=n)}) for n in range(400, 420)]
    return [*plain, *keywords, *later, *much_later]


@pytest.mark.timeout(180)
async def test_500_jobs_of_a_pickling_producer_are_moved(pickling: ArqRedis, make_worker: MakeWorker) -> None:
    """420 are converted, keep their time to live and run exactly once, or when they are due; 80 stay as they were."""
    seen: Counter[int] = Counter()

    async def note(ctx: dict[str, Any], n: int, value: Any = None) -> int:
        seen[n] += 1
        return n

    good = [await submitted(pickling, "note", *args, **options) for args, options in _calls()]
    strange = list(MORE_THAN_JSON.values())
    bad = [await submitted(pickling, "mail.send", strange[n % len(strange)]) for n in range(80)]
    ids = [f"arq:job:{job.job_id}" for job in [*good, *bad]]
    before = dict(
        zip(ids, zip(await pickling.mget(ids), [await pickling.pttl(key) for key in ids], strict=True), strict=True)
    )

    dry, shown = await docs.run(*CONVERT, "--pickle", "--dry-run")
    assert (dry, await pickling.mget(ids)) == (1, [raw for raw, _ in before.values()])
    assert _counts(shown) == ["would convert 420", "already JSON 0", "running 0", "cannot be JSON 80"]
    code, shown = await docs.run(*CONVERT, "--pickle")
    assert (code, _counts(shown)) == (1, ["converted 420", "already JSON 0", "running 0", "cannot be JSON 80"])
    listed = {line.split()[0]: line.split()[1] for line in shown.splitlines()[6:]}
    assert listed == {job.job_id: "mail.send" for job in bad}
    assert "Order(" not in shown
    again, shown = await docs.run(*CONVERT, "--pickle")
    assert (again, _counts(shown)) == (1, ["converted 0", "already JSON 420", "running 0", "cannot be JSON 80"])

    for key in ids[:420]:
        assert 0 < await pickling.pttl(key) <= before[key][1]
        assert envelope.decode(await pickling.get(key))["f"] == "note"
    assert await pickling.mget(ids[420:]) == [before[key][0] for key in ids[420:]]
    assert await pickling.zcard("arq:queue") == 500
    await pickling.zrem("arq:queue", *(job.job_id for job in bad))  # they are for somebody else to run

    worker = make_worker(func(note, name="note"), burst=False)
    run = asyncio.create_task(worker.async_run())
    await wait_until(lambda: len(seen) >= 400, "all that are due have run", timeout_s=60)
    worker.handle_sig(SIGTERM)
    await run
    assert seen == Counter(range(400))
    assert (worker.jobs_complete, worker.jobs_failed) == (400, 0)
    assert await pickling.zcard("arq:queue") == 20
    await pickling.delete(*ids[420:])


def _counts(output: str) -> list[str]:
    return [" ".join(line.split()) for line in output.splitlines()[:4]]


async def test_a_job_that_an_old_worker_has_claimed_is_left_to_it(
    pickling: ArqRedis, arq: ArqRedis, make_worker: MakeWorker
) -> None:
    """Stock arq ends the job that it runs, its result pickled; the others are converted, and run on our worker."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def hold(ctx: dict[str, Any], n: int) -> int:
        begun.set()
        await finish.wait()
        return n

    running, *waiting = [await submitted(pickling, "hold", n, _job_id=f"held-{n}") for n in range(3)]
    function = func(hold, name="hold")
    old = Worker([function], redis_pool=pickling, burst=True, max_burst_jobs=1, handle_signals=False, poll_delay=0.01)
    run = asyncio.create_task(old.async_run())
    await begun.wait()
    done = await convert(Envelopes(arq), queue_key="arq:queue", dry_run=False)
    assert (done.converted, done.running, done.complete) == (2, 1, False)
    finish.set()
    await run
    assert await running.result(timeout=1) == 0
    await make_worker(function).run_check()
    results = [await arq._get_job_result(f"arq:result:{job.job_id}".encode()) for job in waiting]
    assert [result.result for result in results] == [1, 2]


async def test_a_job_that_ours_has_claimed_is_left_to_it(pickling: ArqRedis, arq: ArqRedis) -> None:
    """A lease is a lease: nothing is written under a running attempt, pickled or not."""
    job = await submitted(pickling, "add", 1)
    await arq.set(f"arq:in-progress:{job.job_id}", "1", px=60_000)
    raw = await arq.get(f"arq:job:{job.job_id}")
    done = await convert(Envelopes(arq), queue_key=None, dry_run=False)
    assert (done.running, await arq.get(f"arq:job:{job.job_id}")) == (1, raw)


class _Overtaken(Envelopes):
    """Envelopes of a server on which somebody else writes between reading and replacing, once."""

    def __init__(self, redis: ArqRedis, key: str, other: bytes | None) -> None:
        super().__init__(redis)
        self._server, self._key, self._other = redis, key, other

    async def replace(self, changes: Sequence[Replacement], *, dry_run: bool) -> list[str]:
        if self._key:
            key, self._key = self._key, ""
            await (self._server.delete(key) if self._other is None else self._server.set(key, self._other, ex=60))
        return await super().replace(changes, dry_run=dry_run)


@pytest.mark.parametrize(
    ("other", "left", "counts"),
    [
        (pickled(2), [2], (1, 0)),
        (envelope.encode({"t": None, "f": "add", "a": [3], "k": {}, "et": 1}), [3], (0, 1)),
        (None, None, (0, 0)),
    ],
    ids=["another pickle", "JSON meanwhile", "ended meanwhile"],
)
async def test_what_changes_meanwhile_is_never_overwritten(
    arq: ArqRedis, other: bytes | None, left: list[int] | None, counts: tuple[int, int]
) -> None:
    """An id that is used again between read and write keeps its new envelope, which is looked at once more."""
    await arq.set("arq:job:mine", pickled(1), ex=60)
    done = await convert(_Overtaken(arq, "arq:job:mine", other), queue_key=None, dry_run=False)
    raw = await arq.get("arq:job:mine")
    assert (raw and envelope.decode(raw)["a"]) == left
    assert (done.converted, done.already_json) == counts


async def test_one_queue_may_be_named(pickling: ArqRedis, arq: ArqRedis) -> None:
    """By its key, as arq's queue_name has it; other queues are not looked at, and with no name all are."""
    for queue in ("arq:queue", "arq:queue:slow", "our:jobs"):
        await submitted(pickling, "add", 1, _queue_name=queue)
    code, shown = await docs.run(*CONVERT, "--pickle", "--queue", "our:jobs")
    assert (code, _counts(shown)[0]) == (0, "converted 1")
    code, shown = await docs.run(*CONVERT, "--pickle")
    assert (code, _counts(shown)[:2]) == (0, ["converted 2", "already JSON 1"])
    await arq.delete("our:jobs")


async def test_it_is_refused_without_the_flag_and_without_a_server(
    pickling: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, exit code 2, nothing is read; a server that is away gives exit code 1."""
    job = await submitted(pickling, "add", 1)
    for arguments in ((), ("--dry-run",)):
        code, shown = await docs.run(*CONVERT, *arguments)
        assert (code, shown.count("\n")) == (2, 1)
        assert "give --pickle if nobody but you" in shown
    raw = await pickling.get(f"arq:job:{job.job_id}")
    assert raw is not None
    assert raw.startswith(b"\x80")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    code, shown = await docs.run(*CONVERT, "--pickle")
    assert (code, shown.startswith("arqway: Redis does not answer: ")) == (1, True)
    monkeypatch.delenv("REDIS_URL")
    code, shown = await docs.run(*CONVERT, "--pickle")
    assert (code, shown.startswith("arqway: REDIS_URL is not set")) == (2, True)


async def test_more_jobs_than_one_portion(pickling: ArqRedis, arq: ArqRedis, make_worker: MakeWorker) -> None:
    """Every job of a queue that needs several scans is counted once."""
    async with pickling.pipeline(transaction=False) as pipe:
        for n in range(1_500):
            pipe.set(f"arq:job:{n}", pickled(n), ex=60)
            pipe.zadd("arq:queue", {str(n): 1})
        await pipe.execute()
    done = await convert(Envelopes(arq), queue_key=None, dry_run=False)
    same = await convert(Envelopes(arq), queue_key="arq:queue", dry_run=False)
    assert (done.converted, same.already_json, done.unconvertible) == (1_500, 1_500, [])
    assert await make_worker(add, max_jobs=100).run_check() == 1_500
