"""A job's life under any interleaving: scripts of several workers, zombies, people and time itself in any order."""

import asyncio
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.record import JobRecord
from arqway.workers.contract.states import TERMINAL_STATES, TRANSITIONS, JobState
from arqway.workers.store.attempts import Claim, Lease, ProgressWrite, Rest, Settlement
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import Acceptance, CancelAnswer, JobStore, Refusal, Submission
from tests.support.leaks import keys_without_owner

LEASE_MS = 1_000
RETENTION_MS = 60_000
IDS = [f"job{n}" for n in range(4)]
ids = st.sampled_from(IDS)
ends = st.sampled_from(sorted(TRANSITIONS[JobState.RUNNING] - {JobState.RUNNING}))


class JobLife(RuleBasedStateMachine):
    """Drives the scripts against a real server, with a clock that the machine moves."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.now_ms = 1_000_000
        self.runner = asyncio.Runner()
        self.redis = open_redis(url)
        self.raw = Redis.from_url(url)
        self.raw.flushall()
        self.store = JobStore(self.redis, clock=lambda: self.now_ms)
        self.claims: list[Claim] = []
        self.seen: dict[str, JobRecord] = {}
        self.settled: dict[str, int] = {}
        self.boot = 0

    def run(self, call: Any) -> Any:
        """Run one call of the store."""
        return self.runner.run(call)

    def read(self, job_id: str) -> JobRecord | None:
        """Return a job's record."""
        return self.run(self.store.read(job_id))  # type: ignore[no-any-return]

    def owns(self, claim: Claim) -> bool:
        """Tell whether the claim is still the one that may write."""
        state, token = self.raw.hmget(keys.record(claim.id), ["state", "token"])  # type: ignore[misc]
        return (state, token) == (b"running", claim.token.encode())

    @initialize()
    def begin(self) -> None:
        """Start with one job."""
        self.submit(IDS[0], 0)

    @rule(job_id=ids, delay_ms=st.sampled_from([0, 500]))
    def submit(self, job_id: str, delay_ms: int) -> None:
        """An id is accepted exactly if it is not known."""
        known = self.read(job_id) is not None
        submission = Submission(job_id, "test", "default", b'{"f":"test","a":[{}],"k":{},"et":1}', 3, 0, delay_ms)
        (answer,) = self.run(self.store.submit([submission]))
        assert (answer == Refusal("duplicate")) == known
        assert isinstance(answer, Acceptance) != known

    @rule(want=st.integers(1, 3))
    def claim(self, want: int) -> None:
        """What a claim gives was due, and is given to nobody else while its lease holds."""
        self.boot += 1
        prefix = f"w{self.boot}."
        found = self.run(self.store.claim("default", want=want, lease_ms=LEASE_MS, worker="w", token_prefix=prefix))
        for claim in found.jobs:
            before = self.seen[claim.id]
            assert claim.cancel or before.due_ms <= self.now_ms
            if before.state is JobState.RUNNING:
                assert claim.rescues == before.rescues + 1
                assert claim.attempt == before.attempt
        self.claims += found.jobs

    @rule(data=st.data(), state=ends, delay_ms=st.sampled_from([0, 700]))
    def settle(self, data: st.DataObject, state: JobState, delay_ms: int) -> None:
        """Only the owner's outcome counts; a lost attempt changes nothing."""
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims), label="claim")
        owner, before = self.owns(claim), self.read(claim.id)
        back = int(state is JobState.QUEUED)
        (answer,) = self.run(self.store.settle([_settlement(claim, state, delay_ms, back)]))
        assert (answer == "lost") == (not owner)
        if answer == "settled" and state in TERMINAL_STATES:
            self.settled[claim.id] = self.settled.get(claim.id, 0) + 1
        if answer != "settled":
            assert self.read(claim.id) == before

    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """Progress of a lost attempt is refused."""
        if self.claims:
            claim = data.draw(st.sampled_from(self.claims), label="claim")
            owner = self.owns(claim)
            write = ProgressWrite(claim.id, claim.token, '{"current": 1}')
            assert self.run(self.store.write_progress([write])) == [owner]

    @rule(data=st.data())
    def keep_step(self, data: st.DataObject) -> None:
        """A step of a lost attempt is not kept."""
        if self.claims:
            claim = data.draw(st.sampled_from(self.claims), label="claim")
            owner = self.owns(claim)
            kept = self.run(self.store.keep_step(claim.id, claim.token, "step", b"1"))
            assert (kept is not None) == owner

    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        """Only the owner's lease is renewed."""
        if self.claims:
            claim = data.draw(st.sampled_from(self.claims), label="claim")
            owner = self.owns(claim)
            (answer,) = self.run(self.store.renew([Lease(claim.id, claim.token, "default")], lease_ms=LEASE_MS))
            assert (answer != "lost") == owner

    @rule(job_id=ids)
    def cancel(self, job_id: str) -> None:
        """A waiting job is cancelled at once, a running one is asked, a finished one is left alone."""
        record = self.read(job_id)
        answer = self.run(self.store.cancel(job_id, retention_ms=RETENTION_MS, keep_result_ms=1_000))
        if record is None:
            assert answer == CancelAnswer("unknown")
        elif record.finished:
            assert answer == CancelAnswer("finished")
        else:
            reason: Literal["asked", "cancelled"] = "asked" if record.state is JobState.RUNNING else "cancelled"
            assert answer == CancelAnswer(reason, self.read(job_id))

    @rule(job_id=ids)
    def stock_abort(self, job_id: str) -> None:
        """What a stock arq client's Job.abort() does to a job's score and to arq:abort."""
        if self.raw.exists(keys.record(job_id)):
            self.raw.zadd(keys.queue("default"), {job_id: 1})
            self.raw.zadd(keys.ARQ_ABORT, {job_id: self.now_ms})

    @rule(ms=st.sampled_from([1, 400, 1_001]))
    def pass_time(self, ms: int) -> None:
        """Time goes on; the longest step ends every lease."""
        self.now_ms += ms

    @invariant()
    def moves_are_legal(self) -> None:
        """Each record's state has moved along TRANSITIONS, attempts stay within bounds, versions rise."""
        for job_id in IDS:
            after, before = self.read(job_id), self.seen.get(job_id)
            if before is not None:
                assert after is not None, "no record goes before its retention"
                assert before.state is after.state or after.state in TRANSITIONS[before.state]
                assert after.version >= before.version
                assert (after == replace(before, extras=after.extras)) == (after.version == before.version)
            if after is not None:
                self.seen[job_id] = after

    @invariant()
    def settled_at_most_once(self) -> None:
        """No job has two ends."""
        assert all(times == 1 for times in self.settled.values())

    @invariant()
    def a_job_is_in_the_queue_until_it_is_settled(self) -> None:
        """Every job that has not ended has a score, so it will be claimed again; nothing else is kept for ever."""
        queued = {member.decode() for member in self.raw.zrange(keys.queue("default"), 0, -1)}  # type: ignore[union-attr]
        for job_id in self.seen:
            record = self.read(job_id)
            assert record is not None
            assert record.finished or job_id in queued
        assert [key for key in keys_without_owner(self.raw) if key != keys.ARQ_ABORT] == []

    def teardown(self) -> None:
        """Everything accepted comes to an end when workers go on."""
        for _ in range(3):
            self.pass_time(LEASE_MS + 1)
            self.claim(len(IDS) * 2)
            for claim in self.claims:
                self.run(self.store.settle([_settlement(claim, JobState.CANCELLED)]))
        assert all((record := self.read(job_id)) is not None and record.finished for job_id in self.seen)
        self.raw.flushall()
        self.raw.close()
        self.run(self.redis.aclose())
        self.runner.close()


def _settlement(claim: Claim, state: JobState, delay_ms: int = 0, back: int = 0) -> Settlement:
    rest: Rest = {"delay": delay_ms, "back": back, "interrupts": back}
    return Settlement(claim.id, claim.token, "default", state, RETENTION_MS, rest=rest)


@pytest.mark.timeout(180)
def test_any_interleaving_keeps_the_promises(redis_url: str) -> None:
    """Accepted means it ends, once, by legal moves, whatever zombies, people and stock clients do meanwhile."""
    bounds = settings(
        max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    machine: Any = lambda: JobLife(redis_url)  # noqa: E731 - Hypothesis calls it without arguments
    run_state_machine_as_test(machine, settings=bounds)
