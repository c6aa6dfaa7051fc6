"""``JobStore``: jobs as their clients see them, from submission to their end."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple, TypedDict

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.record import RECORD_FIELDS, JobRecord
from arqway.workers.store.attempts import AttemptStore
from arqway.workers.store.connection import Value, store_errors


class Idempotency(TypedDict):
    """An idempotency key, as passed to the submit script."""

    key: str
    """Digest of the caller, the route and the client's key."""
    fingerprint: str
    life: int
    """How long the key is kept, in milliseconds."""
    hold: int
    """Milliseconds allowed for answering the first request; 0: the answer follows from the submission itself."""


class Extras(TypedDict, total=False):
    """Optional parts of a submission."""

    batch: str
    tags: list[str]
    unique_key: str
    deadline_ms: int
    callback_url: str
    idempotency: Idempotency


class BatchOpening(TypedDict, total=False):
    """The batch formed by the submissions of one call."""

    id: str
    tenant: str
    atomic: bool
    idempotency: Idempotency


class Submission(NamedTuple):
    """A job to accept. Due at ``run_at_ms`` or, if that is 0, ``delay_ms`` from now."""

    id: str
    kind: str
    queue: str
    envelope: bytes
    max_attempts: int
    run_at_ms: int = 0
    delay_ms: int = 0
    tenant: str = keys.DEFAULT_TENANT
    extras: Extras | None = None

    def size(self) -> int:
        """Return the approximate number of bytes written."""
        return len(self.envelope)


class Acceptance(NamedTuple):
    """When a job was accepted and when it is due, by the server's clock."""

    now_ms: int
    due_ms: int


class Refusal(NamedTuple):
    """The reason a job was not accepted."""

    reason: Literal["duplicate", "unique", "mismatch", "held", "kept out"]
    job_id: str = ""
    """``unique``: id of the job that holds the key."""
    wait_ms: int = 0
    """``held``: the longest time until the first request is answered."""


class Replay(NamedTuple):
    """The answer to an earlier request with the same idempotency key."""

    id: str
    created_ms: int
    due_ms: int
    answer: bytes
    """The stored answer; empty if it follows from the other fields."""


SubmitAnswer = Acceptance | Refusal | Replay


class CancelAnswer(NamedTuple):
    """The answer to a request to cancel a job."""

    reason: Literal["cancelled", "asked", "finished", "unknown", "changed"]
    """``asked``: the job is running, and its worker has been notified."""
    record: JobRecord | None = None
    """The record afterwards, if the reason is ``cancelled`` or ``asked``."""


class RetryAnswer(NamedTuple):
    """The answer to a request to submit a final job again."""

    reason: Literal["accepted", "unknown", "live", "changed", "retried", "unique", "gone", "duplicate"]
    job_id: str = ""
    """``accepted``: the new job; ``retried``: the job it was retried as; ``unique``: the holder of the key."""
    record: JobRecord | None = None
    """The record of the new job."""


class JobStore(AttemptStore):
    """The state of all jobs: what clients do with them and, inherited, what workers do."""

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

    async def read(self, job_id: str) -> JobRecord | None:
        """Return a consistent snapshot of a job (one HMGET of its hash); None if there is no such job."""
        return (await self.read_many([job_id]))[0]

    async def read_many(self, job_ids: Sequence[str]) -> list[JobRecord | None]:
        """Return a snapshot of each job, in one round trip; each is consistent in itself."""
        hashes = await self._call("read", [len(RECORD_FIELDS), *RECORD_FIELDS, *job_ids])
        return [JobRecord.from_values(job_id, values) for job_id, values in zip(job_ids, hashes, strict=True)]

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
