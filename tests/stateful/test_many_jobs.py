"""What is kept beside the records, under any interleaving: lists, batches, keys, counts, dead letters, feeds."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from redis import Redis

from arqway.workers.client import JobFilter, JobQueue, Listing
from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.contract.worker import WorkerRecord
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import BatchOpening, Extras, Idempotency, JobStore, RetryAnswer
from arqway.workers.store.lists import BatchStore, ListStore
from arqway.workers.store.queues import QueueStore
from arqway.workers.store.workers import ArqHealth, Fleet
from tests.support.leaks import keys_without_owner
from tests.support.ledger import FINGERPRINTS, Ledger, expected_answer
from tests.support.plain_jobs import RETENTION_MS, settlement, submission
from tests.support.world import World

LEASE_MS = 1_000
TENANTS, KINDS, QUEUES, TAGS, WORDS = ["default", "acme"], ["a.b", "c"], ["default", "slow"], ["x", "Y"], ["u", "v"]
ENDS = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.RETRYING, JobState.QUEUED]
WORKER = WorkerRecord(id="w", host="h", pid=1, version="1", queues=("default",), kinds=(), max_jobs=1)
ReplyT = TypeVar("ReplyT")

extras = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(st.sampled_from(TAGS), min_size=1, unique=True),
        "unique_key": st.sampled_from(WORDS),
        "deadline_ms": st.just(10**12),
    },
)
ends = st.tuples(st.sampled_from(ENDS), st.sampled_from([0, 700]), st.sampled_from(FINGERPRINTS))
placed = st.tuples(st.sampled_from(KINDS), st.sampled_from(QUEUES), st.sampled_from([0, 0, 700]), extras)
filters = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(list(JobState)),
        "kind": st.sampled_from(KINDS),
        "queue": st.sampled_from(QUEUES),
        "tag": st.sampled_from(TAGS),
        "fingerprint": st.sampled_from(FINGERPRINTS),
    },
)


class ManyJobs(RuleBasedStateMachine):
    """Drives the scripts against a real server, with a clock that the machine moves, and keeps a ledger beside it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.runner = asyncio.Runner()
        self.redis = open_redis(url)
        self.raw = Redis.from_url(url)
        self.raw.flushall()
        self.store = JobStore(self.redis, clock=lambda: self.now_ms)
        self.fleet = Fleet(self.redis, clock=lambda: self.now_ms)
        self.queue = JobQueue(self.store, Registry([]), Settings(redis_url=SecretStr(url)))
        self.ledger = Ledger()
        self.claims: list[Claim] = []
        self.made = 0
        self.world = World()

    def run(self, call: Coroutine[Any, Any, ReplyT]) -> ReplyT:
        """Run one call of the store."""
        return self.runner.run(call)

    def look(self) -> World:
        """Return how things are now."""
        self.world = World.read(self.raw)
        return self.world

    def new_id(self, prefix: str = "j") -> str:
        """Return an id that no job has had; every other one in upper case, for Redis sorts by bytes."""
        self.made += 1
        return f"{prefix if self.made % 2 else prefix.upper()}{self.made}"

    @initialize(job=placed)
    def begin(self, job: tuple[str, str, int, Extras]) -> None:
        """Start with one job."""
        self.submit("default", job, None)

    @rule(
        tenant=st.sampled_from(TENANTS),
        job=placed,
        key=st.none() | st.tuples(st.sampled_from(["i", "k"]), st.sampled_from(["p", "q"]), st.sampled_from([0, 500])),
    )
    def submit(self, tenant: str, job: tuple[str, str, int, Extras], key: tuple[str, str, int] | None) -> None:
        """A submission is accepted, or refused for the reason that the ledger knows."""
        kind, queue, delay_ms, more = job
        more = Extras(**more)
        if key is not None:
            more["idempotency"] = Idempotency(key=key[0], fingerprint=key[1], life=RETENTION_MS, hold=key[2])
        new = submission(self.new_id(), tenant, kind, queue, delay_ms, more)
        expected = expected_answer(self.ledger, self.look(), new, self.now_ms)
        (answer,) = self.run(self.store.submit([new]))
        assert answer == expected
        self.ledger.submitted(new, answer)

    @rule(key=st.sampled_from(["i", "k"]))
    def answer(self, key: str) -> None:
        """The answer to a key's first request is kept for those that repeat it."""
        if (known := self.ledger.idempotent.get(key)) is not None:
            self.run(self.store.keep_answer(key, known.id, b"told"))
            known.answer = b"told"

    @rule(tenant=st.sampled_from(TENANTS), jobs=st.lists(placed, min_size=1, max_size=3), atomic=st.booleans())
    def submit_batch(self, tenant: str, jobs: list[tuple[str, str, int, Extras]], atomic: bool) -> None:
        """An atomic batch is accepted as a whole or not at all; of another one each job that can be."""
        batch = self.new_id("b")
        many = [
            submission(f"{batch}.{n}", tenant, kind, queue, delay_ms, Extras(**more, batch=batch))
            for n, (kind, queue, delay_ms, more) in enumerate(jobs)
        ]
        refused = self.ledger.clashes(self.look(), many)
        answers = self.run(self.store.submit(many, BatchOpening(id=batch, tenant=tenant, atomic=atomic)))
        assert self.ledger.outcome_of(answers) == ([True] * len(many) if not refused else
            [not atomic and n not in refused for n in range(len(many))])  # fmt: skip
        if accepted := sum(self.ledger.outcome_of(answers)):
            self.ledger.batches[batch] = accepted

    @rule(queue=st.sampled_from(QUEUES), want=st.integers(1, 3))
    def claim(self, queue: str, want: int) -> None:
        """A claim gives due jobs of its queue, unless the queue is paused."""
        before, self.made = self.look(), self.made + 1
        found = self.run(
            self.store.claim(queue, want=want, lease_ms=LEASE_MS, worker="w", token_prefix=f"{self.made}.")
        )
        assert not (found.jobs and queue in self.ledger.paused)
        for claim in found.jobs:
            record = before.records[claim.id]
            assert record.queue == queue
            assert claim.deadline_ms == record.deadline_ms
            self.ledger.claimed(claim, lost=record.state is JobState.RUNNING)
        self.claims += found.jobs

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=ends)
    def settle(self, data: st.DataObject, end: tuple[JobState, int, str]) -> None:
        """An attempt ends; what an attempt that has lost its job says counts for nothing."""
        self._settle([data.draw(st.sampled_from(self.claims[-4:]), label="claim")], [end])

    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """All attempts that there may be begin, and end in one call."""
        for queue in QUEUES:
            self.claim(queue, 10)
        self._settle(self.claims, [data.draw(ends) for _ in self.claims])

    def _settle(self, claims: Sequence[Claim], how: Sequence[tuple[JobState, int, str]]) -> None:
        settlements = [settlement(claim, *end) for claim, end in zip(claims, how, strict=True)]
        answers = self.run(self.store.settle(settlements))
        for claim, (state, _, _), answer in zip(claims, how, answers, strict=True):
            if answer == "settled":
                self.ledger.settled(claim, state)

    @precondition(lambda self: self.world.records)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A job is cancelled, whatever it belongs to."""
        job_id = data.draw(st.sampled_from(sorted(self.world.records)), label="job")
        self.run(self.store.cancel(job_id, retention_ms=RETENTION_MS))

    @precondition(lambda self: any(record.finished for record in self.world.records.values()))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A final job has one successor at most, in its place; nothing else may be retried."""
        before = self.look()
        finished = [job_id for job_id, record in before.records.items() if record.finished]
        old = before.records[data.draw(st.sampled_from(finished) | st.sampled_from([*before.records]), label="job")]
        new_id = self.new_id()
        answer = self.run(self.store.retry(old.id, new_id, tenant=old.tenant))
        holders = before.expected_unique().get(f"{old.tenant}:{old.kind}:{old.unique_key}")
        if not old.finished:
            assert answer == RetryAnswer("live")
        elif old.retried_as:
            assert answer == RetryAnswer("retried", old.retried_as)
        elif holders:
            assert answer == RetryAnswer("unique", holders[0])
        else:
            after = self.look().records
            new_id = answer.job_id if old.batch else new_id
            assert answer == RetryAnswer("accepted", new_id, after[new_id])
            assert (after[old.id].retried_as, after[new_id].retry_of) == (new_id, old.id)

    @rule(queue=st.sampled_from(QUEUES), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        """Pausing a paused queue changes nothing."""
        assert self.run(QueueStore(self.redis).pause(queue, paused=paused)) == ((queue in self.ledger.paused) != paused)
        (self.ledger.paused.add if paused else self.ledger.paused.discard)(queue)

    @rule(ms=st.sampled_from([1, 400, 1_001]))
    def pass_time(self, ms: int) -> None:
        """Time goes on; the longest step ends every lease."""
        self.now_ms += ms

    @precondition(lambda self: any(record.finished for record in self.world.records.values()))
    @rule(data=st.data())
    def outlive(self, data: st.DataObject) -> None:
        """Records end before their time, in the order in which the jobs did; their places in lists go later."""
        ended = [record for record in self.world.records.values() if record.finished]
        ended.sort(key=lambda record: (record.finished_ms or 0, record.id))
        for record in ended[: data.draw(st.integers(1, len(ended)), label="records")]:
            self.raw.delete(keys.record(record.id), keys.events(record.id))
            self.ledger.gone.add(record.id)

    @rule()
    def pass_retention(self) -> None:
        """Time goes on for so long that all records of ended jobs end, and a worker beats."""
        self.now_ms += RETENTION_MS + 1
        for record in self.look().records.values():
            if record.finished and (record.finished_ms or 0) + RETENTION_MS < self.now_ms:
                self.raw.delete(keys.record(record.id), keys.events(record.id))
                self.ledger.gone.add(record.id)
        self.run(self.fleet.beat(WORKER, life_ms=1_000, arq_health=ArqHealth("health", "queue", "", 1_000)))

    @rule(tenant=st.sampled_from(TENANTS), which=filters, span=st.sampled_from([None, (0, 10**7), (1_000_400, 10**7)]))
    def list_jobs(self, tenant: str, which: dict[str, Any], span: tuple[int, int] | None) -> None:
        """A list by any filter is what the records say, page by page."""
        from_ms, to_ms = span or (None, None)
        batches = [None, *sorted(self.ledger.batches)[:1]] if not which else [None]
        for batch in batches:
            asked = JobFilter(**which, batch=batch, from_ms=from_ms, to_ms=to_ms)
            assert self.run(self._list(tenant, asked)) == self.look().jobs(tenant, asked)

    async def _list(self, tenant: str, which: JobFilter) -> list[str]:
        listing, found, cursor = Listing(self.queue, tenant), [], None
        while True:
            page = await listing.page(which, limit=2, cursor=cursor)
            found += [record.id for record in page.jobs]
            if (cursor := page.cursor) is None:
                return found

    @invariant()
    def everything_agrees_with_the_records(self) -> None:
        """Lists, counts, keys, batches, dead letters and feeds are what follows from the records."""
        world = self.look()
        self.ledger.check(world)
        for batch in self.ledger.batches:
            found = self.run(BatchStore(self.redis).read(batch))
            assert found is not None
            self.ledger.check_batch(world, found)
        for tenant in TENANTS:
            total, groups = self.run(ListStore(self.redis).dead_groups(tenant, skip=0, limit=10))
            self.ledger.check_dead(world.dead(tenant), total, groups)

    def teardown(self) -> None:
        """When all jobs have ended nothing is left but what ends by itself."""
        try:
            self._end()
        finally:
            self.raw.flushall()
            self.raw.close()
            self.run(self.redis.aclose())
            self.runner.close()

    def _end(self) -> None:
        for queue in self.ledger.paused:
            self.run(QueueStore(self.redis).pause(queue, paused=False))
        self.ledger.paused.clear()
        self.pass_time(LEASE_MS * 2)
        for queue in QUEUES:
            self.claim(queue, 1_000)
        self._settle(self.claims, [(JobState.CANCELLED, 0, "")] * len(self.claims))
        assert all(record.finished for record in self.look().records.values())
        self.pass_retention()
        assert self.look().lists == {}
        assert keys_without_owner(self.raw) == []


@pytest.mark.timeout(180)
def test_any_interleaving_keeps_what_is_beside_the_records(redis_url: str) -> None:
    """Whatever people, workers and time do in whatever order, all that is kept beside the records agrees with them."""
    few = bounds(
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    machine: Any = lambda: ManyJobs(redis_url)  # noqa: E731 - Hypothesis calls it without arguments
    run_state_machine_as_test(machine, settings=few)
