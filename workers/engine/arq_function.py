"""arq's own functions and cron jobs, run as jobs: ``async def f(ctx, *args, **kwargs)``.

They follow arq's rules: only ``Retry``, ``RetryJob`` and an unrequested cancellation cause another run, ``max_tries``
counts runs, and ``ctx`` is a dict. Source: arq 0.28, ``worker.py`` ``Worker.run_job``.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import arq.worker
from arq.constants import keep_cronjob_progress
from arq.cron import CronJob
from arq.jobs import Deserializer, Serializer
from pydantic_core import from_json, to_json

from arqway.workers.context import JobContext
from arqway.workers.contract.envelope import decode, encode
from arqway.workers.contract.errors import InvalidPayload, RetryJob
from arqway.workers.contract.retry import NO_RETRY, RetryPolicy
from arqway.workers.definition import InvalidResult
from arqway.workers.runners.attempt import Attempt
from arqway.workers.store.attempts import Claim

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

FOREVER_MS = -1
_NO_LIMIT = timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class ArqFunction:
    """An arq function or cron job; implements ``workers.definition.Runnable``."""

    kind: str
    function: arq.worker.Function | CronJob
    worker_context: dict[Any, Any]
    timeout: timedelta
    retry: RetryPolicy
    retry_jobs: bool
    keep_result_ms: int | None
    soft_timeout: timedelta | None = None
    serializer: Serializer | None = None
    """Writes results, as ``deserializer`` reads arguments; set if the worker was given JSON functions of its own."""
    deserializer: Deserializer | None = None

    @property
    def keep_lease_ms(self) -> int:
        """How long its id counts as running after it ends: a slower worker may still enqueue the same cron run."""
        return keep_cronjob_progress * 1000 if isinstance(self.function, CronJob) else 0

    @classmethod
    def of(cls, function: arq.worker.Function | CronJob, worker: arq.worker.Worker) -> "ArqFunction":
        """Return ``function`` with the limits of ``worker`` where it has none of its own."""
        timeout_s = worker.job_timeout_s if function.timeout_s is None else function.timeout_s
        tries = worker.max_tries if function.max_tries is None else function.max_tries
        return cls(
            kind=function.name,
            function=function,
            worker_context=worker.ctx,
            timeout=timedelta(seconds=timeout_s) if timeout_s else _NO_LIMIT,
            retry=RetryPolicy(max_attempts=tries, on=(RetryJob,)) if tries > 1 else NO_RETRY,
            retry_jobs=worker.retry_jobs,
            keep_result_ms=_kept_ms(function),
            serializer=None if worker.job_serializer is encode else worker.job_serializer,
            deserializer=None if worker.job_deserializer is decode else worker.job_deserializer,
        )

    def read_envelope(self, envelope: bytes) -> Arguments:
        """Return the arguments in an envelope. Raises InvalidPayload."""
        try:
            fields = (self.deserializer or from_json)(envelope)
            return tuple(fields["a"]), dict(fields["k"])
        except Exception:  # a user's deserializer may raise anything
            raise InvalidPayload("The job's envelope is not the JSON that arq's fields make.") from None

    def write_result(self, result: Any) -> bytes:
        """Return the result as JSON. Raises InvalidResult."""
        try:
            if self.serializer is not None:
                result = from_json(self.serializer({"r": result}))["r"]
            return to_json(result, inf_nan_mode="null")
        except Exception as error:
            raise InvalidResult from error

    async def __call__(self, ctx: JobContext, payload: Arguments) -> Any:
        """Run the function, and translate arq's requests for another try into ``RetryJob``."""
        attempt = cast(Attempt, ctx.link)
        args, kwargs = payload
        try:
            return await self.function.coroutine(arq_context(self.worker_context, attempt), *args, **kwargs)
        except (arq.worker.Retry, arq.worker.RetryJob, asyncio.CancelledError) as error:
            if not self.retry_jobs or attempt.reason is not None:
                raise
            delay_ms = error.defer_score if isinstance(error, arq.worker.Retry) else 0
            raise RetryJob(after=timedelta(milliseconds=delay_ms or 0)) from error


def arq_context(worker_context: dict[Any, Any], attempt: Attempt) -> dict[Any, Any]:
    """Return the ``ctx`` of one attempt: the same dict for the function and every hook."""
    if attempt.arq_context is None:
        attempt.arq_context = {**worker_context, **_about(attempt.claim)}
    return attempt.arq_context


def _about(claim: Claim) -> dict[str, Any]:
    enqueued = datetime.fromtimestamp(claim.created_ms / 1000, UTC)
    return {"job_id": claim.id, "job_try": claim.attempt, "enqueue_time": enqueued, "score": claim.due_ms}


def _kept_ms(function: arq.worker.Function | CronJob) -> int | None:
    if function.keep_result_forever:
        return FOREVER_MS
    return None if function.keep_result_s is None else int(function.keep_result_s * 1000)
