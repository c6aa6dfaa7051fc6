"""``JobStore``: jobs from submission to their end, with a typed method for each Lua script."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.record import RECORD_FIELDS, JobRecord
from arqway.workers.store.connection import Facade, Value, rows, store_errors
from arqway.workers.store.entries import (
    Acceptance,
    BatchOpening,
    CancelAnswer,
    Claim,
    Claims,
    Lease,
    ProgressWrite,
    Refusal,
    RenewAnswer,
    Replay,
    RetryAnswer,
    SettleAnswer,
    Settlement,
    Submission,
    SubmitAnswer,
)

_LISTEN_S = 10.0
"""Shorter than the socket timeout, which would mistake a silent channel for a dead server."""


class JobStore(Facade):
    """The state of all jobs."""

    @asynccontextmanager
    async def lanes(self) -> AsyncIterator[None]:
        """Within the block, use a dedicated connection each for submitting, claiming, settling and reading.

        A pool checks a connection before lending it, which takes a turn of the event loop. A command on a dedicated
        connection is sent at once, so that Redis claims jobs while earlier ones run.
        """
        self._lanes = {script: self.redis.client() for script in ("submit", "claim", "settle", "read")}
        try:
            yield
        finally:
            lanes, self._lanes = self._lanes, {}
            for lane in lanes.values():
                await lane.aclose()

    async def submit(self, jobs: Sequence[Submission], batch: BatchOpening | None = None) -> list[SubmitAnswer]:
        """Accept or refuse each job. Atomic: one script; all jobs or none if ``batch`` is ``atomic``.

        Returns:
            One answer per job; a single answer if the batch's own idempotency key is already known.
        """
        args: list[Value] = [json.dumps(batch) if batch else ""]
        for job in jobs:
            args += (job.id, job.kind, job.queue, keys.queue(job.queue), job.run_at_ms, job.delay_ms)
            args += (job.max_attempts, job.envelope, job.tenant, json.dumps(job.extras) if job.extras else "")
        now, *answers = await self._call("submit", args)
        return [Acceptance(now, answer) if type(answer) is int and answer else _refusal(answer) for answer in answers]

    async def keep_answer(self, idempotency_key: str, made_id: str, answer: bytes) -> None:
        """Store the answer to the first request with an idempotency key. Atomic: one script."""
        await self._call("answered", [idempotency_key, made_id, answer])

    async def claim(
        self, queue: str, *, want: int, lease_ms: int, worker: str, token_prefix: str, on_probation: int = 0
    ) -> Claims:
        """Claim up to ``want`` due jobs. Atomic: one script. ``token_prefix`` must never have been used before."""
        args: list[Value] = [want, lease_ms, worker, token_prefix, on_probation]
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

    async def cancel(
        self,
        job_id: str,
        *,
        tenant: str | None = None,
        version: int | None = None,
        retention_ms: int,
        keep_result_ms: int = 0,
    ) -> CancelAnswer:
        """Cancel a waiting job, or request cancellation from the worker of a running one. Atomic: one script.

        Args:
            job_id: Id of the job.
            tenant: Required tenant of the job; None: any.
            version: Required version of its record; None: any.
            retention_ms: How long the record of a job cancelled at once is kept.
            keep_result_ms: How long its result is kept for stock arq clients; 0: not at all.
        """
        args: list[Value] = [job_id, tenant or "", "" if version is None else version, retention_ms, keep_result_ms]
        reason, *values = await self._call("cancel", [*args, envelope.CANCELLED_JSON, *RECORD_FIELDS])
        return CancelAnswer(reason.decode(), JobRecord.from_values(job_id, values) if values else None)

    async def retry(
        self,
        job_id: str,
        new_id: str,
        *,
        tenant: str | None = None,
        version: int | None = None,
        written: bytes = b"",
        delay_ms: int = 0,
    ) -> RetryAnswer:
        """Submit a final job again as a new job. Atomic: one script.

        Args:
            job_id: Id of the final job.
            new_id: Id of the new job; ignored for a job in a batch, whose new id is derived from ``job_id``.
            tenant: Required tenant of the job; None: any.
            version: Required version of its record; None: any.
            written: The new job's envelope; empty: the final job's own.
            delay_ms: Delay until the new job is due.
        """
        args: list[Value] = [job_id, new_id, tenant or "", written, delay_ms, "" if version is None else version]
        reason, *about = await self._call("retry", [*args, *RECORD_FIELDS])
        other_id = about[0].decode() if about else ""
        record = JobRecord.from_values(other_id, about[1:]) if len(about) > 1 else None
        return RetryAnswer(reason.decode(), other_id, record)

    async def keep_step(self, job_id: str, token: str, name: str, result_json: bytes) -> bytes | None:
        """Store a step's result and return the stored one; None if another attempt owns the job. Fenced by token."""
        kept: bytes | None = await self._call("step", [job_id, token, name, result_json])
        return kept

    async def read_step(self, job_id: str, name: str) -> bytes | None:
        """Return the stored result of a step, or None."""
        with store_errors():
            return await self.redis.hget(keys.steps(job_id), name)  # type: ignore[misc, no-any-return]

    async def read(self, job_id: str) -> JobRecord | None:
        """Return a consistent snapshot of a job (one HMGET of its hash); None if there is no such job."""
        return (await self.read_many([job_id]))[0]

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return a snapshot of each job, in one round trip; each is consistent in itself."""
        hashes = await self._call("read", [len(RECORD_FIELDS), *RECORD_FIELDS, *job_ids])
        return [JobRecord.from_values(job_id, values) for job_id, values in zip(job_ids, hashes, strict=True)]

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
        """Wait up to ``timeout_s`` until a job in one of the queues may have become due; return whether one has."""
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

    async def ping(self) -> None:
        """Check that Redis answers."""
        with store_errors():
            await self.redis.ping()


def _refusal(answer: Any) -> Refusal | Replay:
    match answer:
        case 0:
            return Refusal("duplicate")
        case b"replay", job_id, created_ms, due_ms, kept:
            return Replay(job_id.decode(), int(created_ms), int(due_ms), kept)
        case b"unique", holder:
            return Refusal("unique", job_id=holder.decode())
        case b"held", wait_ms:
            return Refusal("held", wait_ms=int(wait_ms))
    return Refusal("mismatch" if answer == [b"mismatch"] else "kept out")


def _claim(raw: Sequence[Any], queue: str, now_ms: int) -> Claim:
    job_id, token, kind, attempt, rescues, most, created_ms, due_ms, cancel, payload, deadline_ms = raw
    names = job_id.decode(), token.decode(), kind.decode()
    attempts = int(attempt), int(rescues), int(most) if most else None
    times = queue, now_ms, int(deadline_ms) if deadline_ms else None
    return Claim(*names, *attempts, int(created_ms), int(due_ms), bool(cancel), payload, *times)
