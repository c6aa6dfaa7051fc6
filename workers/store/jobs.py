"""The job store: one typed method per Lua script. The only module that sees raw Redis replies.

All methods raise ``StoreUnavailable`` while Redis is away, loading, read-only or full.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from redis.asyncio import Redis

from arqway.workers.contract import keys
from arqway.workers.contract.record import RECORD_FIELDS, JobRecord
from arqway.workers.store.connection import store_errors
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
    SettleAnswer,
    Settlement,
    Submission,
    SubmitAnswer,
)
from arqway.workers.store.script import Script, Value

_SERVER_CLOCK = 0
_LISTEN_S = 10.0
"""Shorter than the socket's time-out, which would take a silent channel for a dead server."""


class JobStore:
    """The state of all jobs.

    Args:
        redis: A client that does not decode replies.
        clock: Unix milliseconds, for tests that move time; by default the server's clock rules.
    """

    def __init__(self, redis: Redis, *, clock: Callable[[], int] | None = None) -> None:
        self.redis = redis
        self._to_submit = self._to_claim = self._to_settle = self._to_read = redis
        self._clock = clock or (lambda: _SERVER_CLOCK)
        self._submit, self._claim, self._settle = Script("submit"), Script("claim"), Script("settle")
        self._progress, self._renew = Script("progress"), Script("renew")
        self._cancel, self._step, self._answered = Script("cancel"), Script("step"), Script("answered")
        self._read = Script("read")

    @asynccontextmanager
    async def lanes(self) -> AsyncIterator[None]:
        """Give submitting, claiming, settling and reading a connection each, for the time of the block.

        A pool asks a connection whether it is still good before it lends it, which takes a turn of the event loop. A
        command on a lane is on its way at once: Redis claims jobs while those before them run.
        """
        lanes = [self.redis.client() for _ in range(4)]
        self._to_submit, self._to_claim, self._to_settle, self._to_read = lanes
        try:
            yield
        finally:
            for lane in lanes:
                await lane.aclose()
            self._to_submit = self._to_claim = self._to_settle = self._to_read = self.redis

    async def submit(self, jobs: Sequence[Submission], batch: BatchOpening | None = None) -> list[SubmitAnswer]:
        """Accept each job, or refuse it. Atomic: one script; all or none where ``batch`` says so.

        Returns:
            For each job what became of it; one answer for all where the batch's own idempotency key is known.
        """
        args: list[Value] = [self._clock(), json.dumps(batch) if batch else ""]
        for job in jobs:
            args += (job.id, job.kind, job.queue, keys.queue(job.queue))
            args += (job.run_at_ms, job.delay_ms, job.max_attempts, job.envelope)
            args += (job.tenant, json.dumps(job.extras) if job.extras else "")
        with store_errors():
            now, *answers = await self._submit(self._to_submit, args=args)
        return [Acceptance(now, answer) if type(answer) is int and answer else _refusal(answer) for answer in answers]

    async def keep_answer(self, idempotency_key: str, made_id: str, answer: bytes) -> None:
        """Keep the answer to the first request with an idempotency key. Atomic: one script."""
        with store_errors():
            await self._answered(self.redis, args=[idempotency_key, made_id, answer])

    async def claim(
        self, queue: str, *, want: int, lease_ms: int, worker: str, token_prefix: str, on_probation: int = 0
    ) -> Claims:
        """Take up to ``want`` due jobs. Atomic: one script. ``token_prefix`` must never have been used before."""
        args: list[Value] = [self._clock(), want, lease_ms, worker, token_prefix, on_probation]
        with store_errors():
            now, first, *flat = await self._claim(self._to_claim, [keys.queue(queue)], args)
        next_due = int(float(first))
        jobs = [_claim(flat[i : i + 11], queue, int(now)) for i in range(0, len(flat), 11)]
        return Claims(int(now), None if next_due < 0 else next_due, jobs)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        """End attempts. Fenced by token. Atomic for all together: one script.

        Returns:
            For each: ``settled``; ``lost``, another attempt owns the job; ``cancel``, the job would run again but a
            person asked to cancel it, so nothing was written.
        """
        args: list[Value] = [self._clock()]
        for s in settlements:
            args += (s.id, s.token, keys.queue(s.queue), s.state.value)
            args += s[4:8]
            args.append(json.dumps(s.rest) if s.rest else "")
        with store_errors():
            return [answer.decode() for answer in await self._settle(self._to_settle, args=args)]

    async def write_progress(self, writes: Sequence[ProgressWrite]) -> list[bool]:
        """Record progress; False where another attempt owns the job. Fenced by token. Atomic: one script."""
        with store_errors():
            answers = await self._progress(self.redis, args=[part for write in writes for part in write])
        return [answer == b"written" for answer in answers]

    async def renew(self, leases: Sequence[Lease], *, lease_ms: int) -> list[RenewAnswer]:
        """Make leases last ``lease_ms`` from now. Fenced by token. Atomic: one script."""
        args: list[Value] = [self._clock(), lease_ms]
        for lease in leases:
            args += (lease.id, lease.token, keys.queue(lease.queue))
        with store_errors():
            return [answer.decode() for answer in await self._renew(self.redis, args=args)]

    async def cancel(
        self,
        job_id: str,
        queue: str,
        *,
        arq_result: bytes,
        keep_result_ms: int,
        retention_ms: int,
        version: int | None = None,
    ) -> CancelAnswer:
        """Cancel a waiting job, or ask the worker of a running one to; only at ``version``, if given. Atomic."""
        args: list[Value] = [self._clock(), job_id, arq_result, keep_result_ms, retention_ms]
        args.append("" if version is None else version)
        with store_errors():
            answer: bytes = await self._cancel(self.redis, [keys.queue(queue)], args)
        return answer.decode()  # type: ignore[return-value]

    async def keep_step(self, job_id: str, token: str, name: str, result_json: bytes) -> bytes | None:
        """Keep a step's result and return the kept one; None where another attempt owns the job. Fenced by token."""
        with store_errors():
            kept: bytes | None = await self._step(self.redis, args=[job_id, token, name, result_json])
        return kept

    async def read_step(self, job_id: str, name: str) -> bytes | None:
        """Return the kept result of a step."""
        with store_errors():
            return await self.redis.hget(keys.steps(job_id), name)  # type: ignore[misc, no-any-return]

    async def read(self, job_id: str) -> JobRecord | None:
        """Return one consistent view of a job: one HMGET of its hash."""
        return (await self.read_many([job_id]))[0]

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return a view of each job, in one round trip; each is consistent in itself."""
        with store_errors():
            hashes = await self._read(self._to_read, args=[len(RECORD_FIELDS), *RECORD_FIELDS, *job_ids])
        return [JobRecord.from_values(job_id, values) for job_id, values in zip(job_ids, hashes, strict=True)]

    async def first_due_ms(self, queues: Sequence[str]) -> int | None:
        """Return the lowest score of the queues: when a job is due, or a running one's lease ends. One command each."""
        with store_errors():
            async with self.redis.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.zrange(keys.queue(queue), 0, 0, withscores=True)
                heads = await pipe.execute()
        return min((int(head[0][1]) for head in heads if head), default=None)

    async def aborted(self) -> dict[str, int]:
        """Return what stock arq clients ask to abort: job id → when they asked (ms by their clocks)."""
        with store_errors():
            entries = await self.redis.zrange(keys.ARQ_ABORT, 0, -1, withscores=True)
        return {job_id.decode(errors="replace"): int(score) for job_id, score in entries if abs(score) != inf}

    async def next_wakeup(self, queues: Sequence[str], *, timeout_s: float) -> bool:
        """Wait until a job of one of the queues may have become due, at most ``timeout_s``; tell whether one has."""
        with store_errors():
            return None is not await self.redis.blpop([keys.wake(queue) for queue in queues], timeout=timeout_s)  # type: ignore[misc, arg-type]

    async def cancellations(self) -> AsyncIterator[tuple[str, str]]:
        """Give (job id, token) of attempts that are to be cancelled, as they are announced. None is announced twice."""
        with store_errors():
            async with self.redis.pubsub(ignore_subscribe_messages=True) as subscriber:
                await subscriber.subscribe(keys.CANCEL_CHANNEL)
                while True:
                    message = await subscriber.get_message(timeout=_LISTEN_S)
                    if message is not None:
                        token, _, job_id = message["data"].decode(errors="replace").partition(" ")
                        yield job_id, token

    async def ping(self) -> None:
        """Return if Redis answers."""
        with store_errors():
            await self.redis.ping()


def _refusal(answer: Any) -> Refusal | Replay:
    if answer == 0:
        return Refusal("duplicate")
    reason, *about = answer
    match reason:
        case b"replay":
            return Replay(about[0].decode(), int(about[1]), int(about[2]), about[3])
        case b"unique":
            return Refusal("unique", job_id=about[0].decode())
        case b"held":
            return Refusal("held", wait_ms=int(about[0]))
        case b"mismatch":
            return Refusal("mismatch")
    return Refusal("kept out")


def _claim(raw: Sequence[bytes], queue: str, now_ms: int) -> Claim:
    job_id, token, kind, attempt, rescues, max_attempts, created, due, cancel, envelope, deadline = raw
    return Claim(
        job_id.decode(),
        token.decode(),
        kind.decode(),
        int(attempt),
        int(rescues),
        int(max_attempts) if max_attempts else None,
        int(created),
        int(due),
        bool(int(cancel)),
        envelope,
        queue,
        now_ms,
        int(deadline) if deadline else None,
    )
