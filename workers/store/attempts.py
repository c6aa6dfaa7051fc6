"""``AttemptStore``: jobs as workers see them, from the claim of an attempt to its settlement."""

import json
from collections.abc import AsyncIterator, Sequence
from math import inf
from typing import Any, Literal, NamedTuple, TypedDict

from arqway.workers.contract import keys
from arqway.workers.contract.states import JobState
from arqway.workers.store.connection import Facade, Value, rows, store_errors

_LISTEN_S = 10.0
"""Shorter than the socket timeout, which would mistake a silent channel for a dead server."""


class Claim(NamedTuple):
    """A job that this worker owns for as long as the record holds ``token``."""

    id: str
    token: str
    kind: str
    """Empty if a stock producer's envelope could not be read."""
    attempt: int
    rescues: int
    max_attempts: int | None
    created_ms: int
    due_ms: int
    cancel: bool
    envelope: bytes
    """Empty if it no longer exists."""
    queue: str
    claimed_ms: int
    deadline_ms: int | None = None

    @property
    def left_s(self) -> float:
        """Seconds from the claim to the job's deadline; infinite without one."""
        return inf if self.deadline_ms is None else (self.deadline_ms - self.claimed_ms) / 1000


class Claims(NamedTuple):
    """The answer to a claim request."""

    now_ms: int
    next_due_ms: int | None
    """Score of the queue's first id afterwards; it may be in the past, or the end of a running job's lease."""
    jobs: list[Claim]


class Lease(NamedTuple):
    """The lease a worker holds while it runs a job."""

    id: str
    token: str
    queue: str


class ProgressWrite(NamedTuple):
    """A progress report to write to a job's record."""

    id: str
    token: str
    progress_json: str

    def size(self) -> int:
        """Return the approximate number of bytes written."""
        return len(self.progress_json)


class Rest(TypedDict, total=False):
    """Optional parts of a settlement."""

    delay: int
    """Milliseconds until the job is due again."""
    back: int
    """Number of attempts to subtract, for a run that is not to count as one."""
    interrupts: int
    progress: str
    """JSON, as in the record; so is ``failure``."""
    failure: str
    event: str
    """The event's data as JSON."""
    keep_lease: int
    """Milliseconds for which stock arq still regards the id as running."""
    max_attempts: int
    """Set if the record lacks it."""
    fingerprint: str
    """Fingerprint of the failure, if the job has failed for good."""


class Settlement(NamedTuple):
    """How an attempt ends. ``state`` is the job's next state."""

    id: str
    token: str
    queue: str
    state: JobState
    retention_ms: int = 0
    result_json: str | bytes = ""
    arq_result: bytes = b""
    keep_result_ms: int = 0
    """0: not kept; -1: kept forever."""
    rest: Rest | None = None

    def size(self) -> int:
        """Return the approximate number of bytes written."""
        size = len(self.result_json) + len(self.arq_result)
        return size + sum(len(part) for part in self.rest.values() if isinstance(part, str)) if self.rest else size


SettleAnswer = Literal["settled", "lost", "cancel"]
RenewAnswer = Literal["renewed", "cancel", "lost"]


class AttemptStore(Facade):
    """What workers do with jobs."""

    async def claim(
        self,
        queue: str,
        *,
        want: int,
        lease_ms: int,
        worker: str,
        token_prefix: str,
        on_probation: int = 0,
        unheard: Sequence[str] = (),
    ) -> Claims:
        """Claim up to ``want`` due jobs. Atomic: one script.

        ``token_prefix`` must never have been used before. ``unheard`` are the prefixes of earlier claims by this worker
        whose answers never arrived: their jobs are due again, which counts neither as an attempt nor as a rescue.
        """
        args: list[Value] = [want, lease_ms, worker, token_prefix, on_probation, *unheard]
        now, first, *flat = await self._call("claim", args, [keys.queue(queue)])
        next_due = int(float(first))
        jobs = [_claim(row, queue, int(now)) for row in rows(flat, 11)]
        return Claims(int(now), None if next_due < 0 else next_due, jobs)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        """Settle attempts. Fenced by token. Atomic for all of them: one script.

        Returns:
            For each attempt: ``settled``; ``lost``: another attempt owns the job; or ``cancel``: the job would run
            again, but its cancellation was requested, so nothing was written.
        """
        args: list[Value] = []
        for s in settlements:
            args += (s.id, s.token, keys.queue(s.queue), s.state.value, *s[4:8], json.dumps(s.rest) if s.rest else "")
        return [answer.decode() for answer in await self._call("settle", args)]

    async def write_progress(self, writes: Sequence[ProgressWrite]) -> list[bool]:
        """Record progress; False for a job owned by another attempt. Fenced by token. Atomic: one script."""
        answers = await self._call("progress", [part for write in writes for part in write])
        return [answer == b"written" for answer in answers]

    async def renew(self, leases: Sequence[Lease], *, lease_ms: int) -> list[RenewAnswer]:
        """Extend leases to ``lease_ms`` from now. Fenced by token. Atomic: one script."""
        args: list[Value] = [lease_ms]
        for lease in leases:
            args += (lease.id, lease.token, keys.queue(lease.queue))
        return [answer.decode() for answer in await self._call("renew", args)]

    async def keep_step(self, job_id: str, token: str, name: str, result_json: bytes) -> bytes | None:
        """Store a step's result and return the stored one; None if another attempt owns the job. Fenced by token."""
        kept: bytes | None = await self._call("step", [job_id, token, name, result_json])
        return kept

    async def read_step(self, job_id: str, name: str) -> bytes | None:
        """Return the stored result of a step, or None."""
        with store_errors():
            return await self.redis.hget(keys.steps(job_id), name)  # type: ignore[misc, no-any-return]

    async def first_due_ms(self, queues: Sequence[str]) -> int | None:
        """Return the lowest score in the queues: when a job is due or a lease ends. One command per queue."""
        heads = await self._pipe((("zrange", keys.queue(queue), 0, 0, False, True) for queue in queues), atomic=False)
        return min((int(head[0][1]) for head in heads if head), default=None)

    async def aborted(self) -> dict[str, int]:
        """Return the jobs that stock arq clients want aborted: job id → time of the request (ms by their clocks)."""
        with store_errors():
            entries = await self.redis.zrange(keys.ARQ_ABORT, 0, -1, withscores=True)
        return {job_id.decode(errors="replace"): int(score) for job_id, score in entries if abs(score) != inf}

    async def next_wakeup(self, queues: Sequence[str], *, timeout_s: float) -> bool:
        """Wait up to ``timeout_s``, or 10 s, until a job in one of the queues may be due; return whether one is."""
        timeout_s = min(timeout_s, _LISTEN_S)
        with store_errors():
            return None is not await self.redis.blpop([keys.wake(queue) for queue in queues], timeout=timeout_s)  # type: ignore[misc, arg-type]

    async def cancellations(self) -> AsyncIterator[tuple[str, str]]:
        """Yield (job id, token) of each attempt to be cancelled, as announced. No announcement is repeated."""
        with store_errors():
            async with self.redis.pubsub(ignore_subscribe_messages=True) as subscriber:
                await subscriber.subscribe(keys.CANCEL_CHANNEL)
                while True:
                    message = await subscriber.get_message(timeout=_LISTEN_S)
                    if message is not None:
                        token, _, job_id = message["data"].decode(errors="replace").partition(" ")
                        yield job_id, token


def _claim(raw: Sequence[Any], queue: str, now_ms: int) -> Claim:
    job_id, token, kind, attempt, rescues, most, created_ms, due_ms, cancel, payload, deadline_ms = raw
    names = job_id.decode(), token.decode(), kind.decode()
    attempts = int(attempt), int(rescues), int(most) if most else None
    times = queue, now_ms, int(deadline_ms) if deadline_ms else None
    return Claim(*names, *attempts, int(created_ms), int(due_ms), bool(cancel), payload, *times)
