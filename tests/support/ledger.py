"""What a test knows of the jobs it has made, beside what Redis says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from arqway.workers.contract.record import ATTEMPTS_KEPT, JobRecord
from arqway.workers.contract.states import JobState
from arqway.workers.store.attempts import Claim
from arqway.workers.store.jobs import Acceptance, Refusal, Replay, Submission, SubmitAnswer
from arqway.workers.store.lists import BatchRecord, DeadGroup
from tests.support.world import World

FINGERPRINTS = ["f0", "f1"]


@dataclass
class Request:
    """The first request with an idempotency key."""

    fingerprint: str
    id: str
    created_ms: int
    due_ms: int
    held_ms: int
    answer: bytes = b""


@dataclass
class Ledger:
    """What was done so far."""

    idempotent: dict[str, Request] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    """Batch id → how many jobs were accepted."""
    attempts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Job id → number and outcome of its attempts that were followed by another one."""
    paused: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    """Jobs whose records have ended."""

    def submitted(self, submission: Submission, answer: SubmitAnswer) -> None:
        """Note a submission."""
        claim = (submission.extras or {}).get("idempotency")
        if isinstance(answer, Acceptance) and claim is not None:
            held_ms = answer.now_ms + claim["hold"]
            self.idempotent[claim["key"]] = Request(
                claim["fingerprint"], submission.id, answer.now_ms, answer.due_ms, held_ms
            )

    def claimed(self, claim: Claim, *, lost: bool) -> None:
        """Note a claim; ``lost``: the one before lost its worker."""
        if lost:
            self.attempts.setdefault(claim.id, []).append((claim.attempt, "worker_lost"))

    def settled(self, claim: Claim, state: JobState) -> None:
        """Note the end of an attempt."""
        outcome = {JobState.RETRYING: "failed", JobState.QUEUED: "interrupted"}.get(state)
        if outcome is not None:
            self.attempts.setdefault(claim.id, []).append((claim.attempt, outcome))

    def clashes(self, world: World, submissions: Sequence[Submission]) -> set[int]:
        """Return which of a batch's jobs cannot have their unique keys."""
        held, clashing = set(world.expected_unique()), set()
        for n, submission in enumerate(submissions):
            if name := _unique_name(submission):
                if name in held:
                    clashing.add(n)
                held.add(name)
        return clashing

    def outcome_of(self, answers: Sequence[SubmitAnswer]) -> list[bool]:
        """Return which submissions were accepted."""
        return [isinstance(answer, Acceptance) for answer in answers]

    def check(self, world: World) -> None:
        """Compare all that has no call of its own with the records."""
        for key, members in world.expected_lists().items():
            assert members.items() <= world.lists[key].items()
        for key, members in world.lists.items():
            assert members.keys() - world.expected_lists().get(key, {}).keys() <= self.gone
        assert world.running == world.expected_running()
        assert {name: [holder] for name, holder in world.unique.items()} == world.expected_unique()
        for record in world.records.values():
            self._check_attempts(record)
            self._check_events(world, record)
        for tenant, lines in world.feeds.items():
            assert all(world.records[line[0]].tenant == tenant for line in lines if line[0] in world.records)

    def _check_attempts(self, record: JobRecord) -> None:
        noted = record.attempts
        assert [(one.attempt, one.outcome) for one in noted] == self.attempts.get(record.id, [])[-ATTEMPTS_KEPT:]
        times = [moment for one in noted for moment in (one.started_ms, one.ended_ms)]
        assert times == sorted(times)

    def _check_events(self, world: World, record: JobRecord) -> None:
        told = [(at, name) for job_id, at, name, _ in world.feeds[record.tenant] if job_id == record.id]
        first = f"{record.created_ms}-0"
        assert told[0] in {(first, "queued"), (first, "scheduled")}
        assert told[1:] == world.events.get(record.id, [])

    def check_batch(self, world: World, batch: BatchRecord) -> None:
        """Compare a batch with its jobs."""
        assert sum(batch.counts.values()) == batch.total == self.batches[batch.id]
        jobs = [r for r in world.records.values() if r.batch == batch.id and r.retried_as is None]
        live = [r for r in jobs if not r.finished]
        assert (batch.finished_ms is None) == bool(live)
        assert {state: batch.counts[state] for state in JobState if not _ends(state)} == {
            state: sum(r.state is state for r in live) for state in JobState if not _ends(state)
        }
        lines = world.feeds[batch.tenant]
        told = [line for line in lines if line[0] == batch.id]
        assert all(line[2] == "finished" for line in told)
        assert bool(told) or batch.finished_ms is None
        if batch.finished_ms is not None:
            of_jobs = [n for n, line in enumerate(lines) if line[0].partition(".")[0] == batch.id]
            assert lines[of_jobs[-1]][0] == batch.id, "the batch's end is told after that of its last job"

    def check_dead(self, expected: dict[str, list[JobRecord]], total: int, groups: Sequence[DeadGroup]) -> None:
        """Compare the groups of dead letters with the records."""
        assert total == len(groups) == len(expected)
        latest = [group.latest_ms for group in groups]
        for group in groups:
            jobs = expected[group.fingerprint]
            assert group.first_ms == jobs[0].finished_ms
            assert (group.latest_ms, group.latest_id) == (jobs[-1].finished_ms, jobs[-1].id)
            assert group.jobs == len(jobs)
        assert len(latest) == len(groups)


def expected_answer(ledger: Ledger, world: World, submission: Submission, now_ms: int) -> SubmitAnswer:
    """Return what a submission with a new id should be answered."""
    claim = (submission.extras or {}).get("idempotency")
    if claim is not None and (known := ledger.idempotent.get(claim["key"])) is not None:
        if known.fingerprint != claim["fingerprint"]:
            return Refusal("mismatch")
        if not known.answer and known.held_ms > now_ms:
            return Refusal("held", wait_ms=known.held_ms - now_ms)
        return Replay(known.id, known.created_ms, known.due_ms, known.answer)
    name = _unique_name(submission)
    if name and (holders := world.expected_unique().get(name)):
        return Refusal("unique", job_id=holders[0])
    return Acceptance(now_ms, now_ms + submission.delay_ms)


def _unique_name(submission: Submission) -> str | None:
    key = (submission.extras or {}).get("unique_key")
    return f"{submission.tenant}:{submission.kind}:{key}" if key else None


def _ends(state: JobState) -> bool:
    return state in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
