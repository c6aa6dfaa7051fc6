"""A job leaves its lists when its record ends, by what is written afterwards, and nothing is left in the end."""

from typing import Any

import pytest

from arqway.workers.client import JobFilter, Listing
from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.store.attempts import Claim, Settlement
from arqway.workers.store.jobs import JobStore
from arqway.workers.store.workers import ArqHealth, Fleet
from tests.support.by_hand import ByHand
from tests.support.plain_jobs import settlement, submission
from tests.support.waiting import wait_until

ENDED = "jobs:succeeded:default:default:k"
SHORT_MS, LONG_MS = 60, 600_000
WORKER = WorkerRecord(id="w", host="h", pid=1, version="1", queues=("default",), kinds=(), max_jobs=1)
KEPT = {"queue-rates", "run-times", "running-jobs", "feed", "workers", "worker", "health", "wake"}
"""What is about no single job, and ends by itself."""


class Clerk:
    """Submits jobs and ends them at once."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.store = JobStore(redis)
        self.fleet = Fleet(redis)
        self._made = 0

    async def end(
        self,
        jobs: int,
        retention_ms: int = SHORT_MS,
        *,
        how: JobState = JobState.SUCCEEDED,
        tenant: str = "default",
        kind: str = "k",
        tags: tuple[str, ...] = (),
        fingerprint: str = "f0",
    ) -> list[str]:
        """Let so many jobs end, in one call of the settle script, and return their ids."""
        self._made += jobs
        ids = [f"j{n:06}" for n in range(self._made - jobs, self._made)]
        await self.store.submit([submission(i, tenant, kind, "default", 0, {"tags": [*tags]}) for i in ids])
        claims = await self.claim(jobs)
        assert len(claims) == jobs
        ends = [settlement(claim, how, 0, fingerprint)._replace(retention_ms=retention_ms) for claim in claims]
        assert set(await self.store.settle(ends)) == {"settled"}
        return ids

    async def claim(self, jobs: int = 1) -> list[Claim]:
        """Begin so many jobs."""
        prefix = f"{self._made}."
        return (await self.store.claim("default", want=jobs, lease_ms=60_000, worker="w", token_prefix=prefix)).jobs

    async def beat(self) -> None:
        """Let a worker beat."""
        await self.fleet.beat(WORKER, life_ms=1_000, arq_health=ArqHealth("health", "arq:queue", "", 1_000))

    async def listed(self, key: str = ENDED) -> set[str]:
        """Return the ids that a list holds."""
        return {job_id.decode() for job_id in await self.redis.zrange(key, 0, -1)}

    async def outlived(self, *ids: str) -> None:
        """Return when the records of these jobs have ended."""
        await wait_until(lambda: self._gone(ids), "the records have ended")

    async def _gone(self, ids: tuple[str, ...]) -> bool:
        return int(await self.redis.exists(*map(keys.record, ids))) == 0


@pytest.fixture
def clerk(by_hand: ByHand) -> Clerk:
    """Somebody who lets jobs end."""
    return Clerk(by_hand.redis)


async def test_what_ends_a_job_removes_two_whose_time_is_over(clerk: Clerk) -> None:
    """Each job that ends takes at least two others from the lists whose records have ended, and none that is there."""
    gone = [job_id for _ in range(100) for job_id in await clerk.end(1)]
    await clerk.outlived(*gone)
    kept: set[str] = set()
    for _ in range(len(gone) // 2):
        before = await clerk.listed() & set(gone)
        kept |= set(await clerk.end(1, LONG_MS))
        after = await clerk.listed()
        assert kept <= after
        assert len(after & set(gone)) <= max(0, len(before) - 2)
    assert await clerk.listed() == kept


@pytest.mark.parametrize("jobs", [1, 2])
async def test_a_record_that_outlives_its_time_takes_its_place_in_the_list_with_it(clerk: Clerk, jobs: int) -> None:
    """A job is listed for as long as its record is there, and no longer, when its entry came due before that."""
    gone = await clerk.end(jobs)
    for job_id in gone:
        await clerk.redis.persist(keys.record(job_id))
        await clerk.redis.pexpire(keys.record(job_id), 500)
    await clerk.redis.zadd("list-ends", dict.fromkeys(await clerk.redis.zrange("list-ends", 0, -1), 1))
    kept = await clerk.end(1, LONG_MS)
    assert await clerk.listed() == {*gone, *kept}
    await clerk.outlived(*gone)

    async def only_the_kept_are_listed() -> bool:
        kept.extend(await clerk.end(1, LONG_MS))
        return await clerk.listed() == set(kept)

    await wait_until(only_the_kept_are_listed, "the list has none whose record has ended", timeout_s=5)


async def test_one_call_does_a_bounded_part_of_the_work(clerk: Clerk) -> None:
    """However many jobs are over, a script call that ends one removes some, a heartbeat a few thousand."""
    gone = [job_id for _ in range(31) for job_id in await clerk.end(200, LONG_MS)]
    await clerk.redis.delete(*map(keys.record, gone))
    await clerk.redis.zadd("list-ends", dict.fromkeys(await clerk.redis.zrange("list-ends", 0, -1), 1))
    await clerk.end(1, LONG_MS)
    assert len(gone) - 400 <= len(await clerk.listed()) < len(gone)
    await clerk.beat()
    assert 800 <= len(await clerk.listed()) <= 1_200
    await clerk.beat()
    assert len(await clerk.listed()) == 1


async def test_a_heartbeat_removes_what_is_over_where_nothing_ends(clerk: Clerk) -> None:
    """Where no job ends any more a worker's heartbeat removes what is over, from all lists."""
    kept = set(await clerk.end(3, LONG_MS, tags=("t",), how=JobState.FAILED))
    gone = await clerk.end(5, tags=("t",), how=JobState.FAILED)
    await clerk.outlived(*gone)
    await clerk.beat()
    for key in ("jobs:failed:default:default:k", "ended-tag:default:t", "dead:default:f0"):
        assert await clerk.listed(key) == kept


async def test_a_quiet_server_ends_empty(clerk: Clerk) -> None:
    """Where nothing is written any more every key about ended jobs ends by itself."""
    await clerk.end(3, tags=("t", "u"), how=JobState.FAILED)
    await clerk.end(3, tenant="acme", tags=("t",))
    found = [key.decode() for key in await clerk.redis.keys("*")]
    about_jobs = [key for key in found if key.partition(":")[0] not in KEPT]
    assert {key.partition(":")[0] for key in about_jobs} == {
        "job", "job-events", "jobs", "ended-lists", "ended-tag", "dead", "dead-groups", "list-ends",
    }  # fmt: skip
    for key in about_jobs:
        assert 0 < await clerk.redis.pttl(key) <= SHORT_MS + 2 * 60_000


async def test_a_job_that_is_kept_for_less_cuts_no_other_short(clerk: Clerk) -> None:
    """Where workers have different retention times a list lives as long as any of its jobs, and holds them all."""
    long = await clerk.end(2, LONG_MS, tags=("t",), how=JobState.FAILED)
    short = await clerk.end(2, SHORT_MS, tags=("t",), how=JobState.FAILED)
    for key in ("jobs:failed:default:default:k", "ended-tag:default:t", "dead:default:f0", "list-ends"):
        assert await clerk.redis.pttl(key) > LONG_MS / 2
    await clerk.outlived(*short)
    await clerk.beat()
    assert await clerk.listed("jobs:failed:default:default:k") == set(long)


async def test_an_id_that_is_used_again_stays_where_it_belongs(clerk: Clerk) -> None:
    """When an id's old record has ended and it is another job now, the old one's end takes nothing from the new one."""
    (again,) = await clerk.end(1, tags=("old", "both"))
    await clerk.outlived(again)
    await clerk.store.submit([submission(again, "default", "k", "default", 0, {"tags": ["both"]})])
    (claim,) = await clerk.claim()
    ends = settlement(claim, JobState.SUCCEEDED, 0, "")._replace(retention_ms=LONG_MS)
    await clerk.beat()
    assert await clerk.listed() == set(), "it runs, so it is in no list of jobs that have ended"
    await clerk.store.settle([ends])
    await clerk.beat()
    assert await clerk.listed() == await clerk.listed("ended-tag:default:both") == {again}
    assert await clerk.listed("ended-tag:default:old") == set()


async def test_a_record_that_outlives_its_time_stays_listed(clerk: Clerk) -> None:
    """A record whose life somebody has prolonged leaves its list when it ends, not when it would have."""
    kept, gone = await clerk.end(2, 300)
    await clerk.redis.pexpire(keys.record(kept), 900)
    await clerk.outlived(gone)

    async def is_swept() -> bool:
        await clerk.beat()
        return gone not in await clerk.listed()

    await wait_until(is_swept, "the other one has left")
    assert kept in await clerk.listed()
    await clerk.outlived(kept)
    await clerk.beat()
    assert await clerk.listed() == set()


async def test_live_jobs_stay_listed_whatever_ends(clerk: Clerk, by_hand: ByHand) -> None:
    """Jobs that wait are listed by state and by tag however long, while all others of their lists come and go."""
    (waiting,) = await by_hand.submit(job_id="waiting", tags=["t"], queue="slow")
    gone = await clerk.end(5, tags=("t",))
    await clerk.outlived(*gone)
    await clerk.beat()
    for which in (JobFilter(tag="t"), JobFilter(state=JobState.QUEUED), JobFilter()):
        assert [job.id for job in (await Listing(by_hand.queue).page(which, limit=10)).jobs] == [waiting.id]
    assert [await by_hand.redis.pttl(key) for key in ("tag:default:t", "live-lists:default")] == [-1, -1]


@pytest.mark.parametrize("odd", [b"", b"no msgpack", b"\xc1", b"\x93\x01\x02\x03", b"\x91\xa1k"])
async def test_what_is_no_entry_harms_nobody(clerk: Clerk, odd: bytes) -> None:
    """Whatever somebody puts among the ends of records is dropped, and jobs go on ending."""
    await clerk.redis.zadd("list-ends", {odd: 1, b"\x92\xb6arq:in-progress:thereis\xa1x": 2})
    await clerk.redis.set("arq:in-progress:thereis", "a string", px=60_000)
    gone = await clerk.end(2)
    await clerk.outlived(*gone)
    await clerk.beat()
    assert await clerk.listed("list-ends") == await clerk.listed() == set()


async def test_kinds_of_stock_producers_may_have_any_name(clerk: Clerk) -> None:
    """A job whose kind is made of separators leaves the right list, and is listed until then."""
    kind = "a\x1fb:c"
    await clerk.redis.set(keys.envelope("odd"), b'{"t":null,"f":"a\\u001fb:c","a":[],"k":{},"et":1}')
    await clerk.redis.zadd(keys.queue("default"), {"odd": 1})
    (claim,) = await clerk.claim()
    assert claim.kind == kind
    await clerk.store.settle([Settlement(claim.id, claim.token, claim.queue, JobState.SUCCEEDED, SHORT_MS)])
    assert await clerk.listed(f"jobs:succeeded:default:default:{kind}") == {"odd"}
    await clerk.outlived("odd")
    await clerk.redis.persist(f"jobs:succeeded:default:default:{kind}")
    await clerk.beat()
    assert await clerk.listed(f"jobs:succeeded:default:default:{kind}") == set()


async def test_the_number_of_keys_is_flat(clerk: Clerk) -> None:
    """Wave after wave of short-lived jobs over tenants, kinds, failures and single-use tags leaves no key behind."""
    sizes = []
    for wave in range(4):
        ids = []
        for n in range(12):
            how = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)[n % 3]
            tenant, kind, once = f"tenant{n % 4}", f"kind{n % 5}", f"{wave}.{n}"
            ids += await clerk.end(3, how=how, tenant=tenant, kind=kind, tags=("t", once), fingerprint=f"f{wave}{n}")
        await clerk.outlived(*ids)
        last = await clerk.end(1)
        await clerk.beat()
        found = {key.decode().partition(":")[0] for key in await clerk.redis.keys("*")}
        assert found - KEPT <= {"job", "job-events", "jobs", "ended-lists", "list-ends"}
        sizes.append(len(await clerk.redis.keys("jobs:*")))
        await clerk.outlived(*last)
        await clerk.beat()
        assert await clerk.redis.exists("list-ends") == 0
    assert sizes == [1] * 4
