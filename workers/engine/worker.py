"""``JobWorker``: arq's worker with its claiming, running, renewing, settling and waiting replaced.

Constructor options, functions, cron jobs, hooks, burst mode, signals and the health key are those of
``arq.worker.Worker`` 0.28. What differs is said in ``docs/architecture.md``.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from signal import Signals
from typing import Any, cast

from arq.connections import create_pool
from arq.worker import Worker, func

from arqway.workers.attempt import Attempt
from arqway.workers.background import end
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason, JobState
from arqway.workers.definition import Runnable
from arqway.workers.engine.arq_function import FOREVER_MS, ArqFunction
from arqway.workers.engine.cancellations import Cancellations
from arqway.workers.engine.claimer import Claimer
from arqway.workers.engine.deliveries import Deliveries
from arqway.workers.engine.hooks import Hooks
from arqway.workers.engine.intake import Intake
from arqway.workers.engine.intakes import Intakes
from arqway.workers.engine.leases import LeaseKeeper
from arqway.workers.engine.wakeup import Wakeup
from arqway.workers.engine.watch import watch_over
from arqway.workers.executor import Executor, Limits
from arqway.workers.outcome import Outcome, Retention, Succeeded
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis, store_errors
from arqway.workers.store.entries import SettleAnswer
from arqway.workers.store.jobs import JobStore
from arqway.workers.webhooks.delivery import open_delivery

logger = logging.getLogger("arqway.workers.engine")

_HEALTH_INTERVAL = timedelta(seconds=30)
_SHORTEST_BEAT_S = 0.5
_HAND_BACK_S = 5.0
"""How long a stopping worker tries to write its last outcomes while Redis is away; then their leases run out."""


class JobWorker(Worker):
    """Runs jobs until it is told to stop.

    Args:
        functions: arq's own functions, as for ``arq.worker.Worker``.
        registry: Jobs made with ``@job``. Jobs of kinds in neither are parked for other workers.
        settings: Where Redis is, which queues to serve, and the limits; by default from the environment.
        worker_id: Names this process in records; never used before. By default host, pid and a random part.
        arq_options: As for ``arq.worker.Worker``; they win over ``settings``.
    """

    def __init__(
        self,
        functions: Sequence[Any] = (),
        *,
        registry: Registry | None = None,
        settings: Settings | None = None,
        worker_id: str | None = None,
        **arq_options: Any,
    ) -> None:
        self.settings = settings or Settings()
        self.registry = registry if registry is not None else Registry([])
        self.worker_id = worker_id or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        ours = [func(cast(Any, job.function), name=job.kind, timeout=job.timeout) for job in self.registry.values()]
        super().__init__([*functions, *ours], **{**self._defaults(arq_options), **arq_options})
        self.queues = self.settings.queues if "queue_name" not in arq_options else (keys.queue_of(self.queue_name),)
        self._interrupt = asyncio.Event()
        self._intake: Intake | None = None
        self._intakes = Intakes()
        self._beside: tuple[Deliveries, ...] = ()
        self._hooks = Hooks(self.ctx, self.on_job_start, self.on_job_end, self.after_job_end)
        self.has_hooks = bool(self.on_job_start or self.on_job_end)

    async def main(self) -> None:
        """Serve until stopped: open resources, keep the duties going, claim and run jobs, drain."""
        await self._open_pool()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.store.lanes())
            if self.on_startup:
                await self.on_startup(self.ctx)
            resources = await stack.enter_async_context(self.registry.open_resources())
            self.queue = JobQueue(self.store, self.registry, self.settings)
            self.executor = Executor(
                self.store, self._runnables(), resources, self._limits(), queue=self.queue, observer=self
            )
            self._intake = self._make_intake()
            if self.settings.webhook_secrets:
                delivery = await stack.enter_async_context(open_delivery(self.settings, self.store))
                self._beside = (self._deliveries(delivery),)
            self._intakes = Intakes(self._intake, *(deliveries.intake for deliveries in self._beside))
            if not self.allow_pick_jobs:  # told to stop before it has begun
                self._intakes.stop()
            await stack.enter_async_context(self._duties(self._intake))
            logger.info("Worker started", extra={"worker": self.worker_id, "kinds": len(self.functions)})
            await self._intakes.run()
            await self._drain()
        self.allow_pick_jobs, self._intake, self._intakes, self._beside = True, None, Intakes(), ()
        self._interrupt.clear()
        logger.info("Worker stopped", extra={"worker": self.worker_id})

    def handle_sig(self, signum: Signals) -> None:
        """Stop claiming and drain; a second signal interrupts what still runs at once."""
        if not self.allow_pick_jobs:
            self._interrupt.set()
        self.allow_pick_jobs = False
        self._intakes.stop()
        logger.info("Stopping", extra={"signal": Signals(signum).name, "running": len(self.tasks)})
        if self.on_stop:
            self.on_stop(signum)

    handle_sig_wait_for_completion = handle_sig

    async def close(self) -> None:
        """Release what the worker holds; call after ``async_run`` has returned."""
        if self._pool is None:
            return
        with contextlib.suppress(StoreUnavailable), store_errors():
            await self.pool.delete(self.health_check_key)
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self.pool.aclose(close_connection_pool=True)
        self._pool = None

    async def started(self, attempt: Attempt) -> None:
        """Call ``on_job_start``."""
        await self._hooks.started(attempt)

    async def ended(self, attempt: Attempt) -> None:
        """Call ``on_job_end``."""
        await self._hooks.ended(attempt)

    def released(self, attempt: Attempt) -> None:
        """Free the attempt's slot."""
        if self._intake is not None:
            self._intake.released(attempt.claim.id)

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Count the outcome as arq does, and call ``after_job_end``."""
        if isinstance(outcome, Succeeded):
            self.jobs_complete += 1
        elif attempt.next_state in {JobState.RETRYING, JobState.QUEUED}:
            self.jobs_retried += 1
        else:
            self.jobs_failed += 1
        self._hooks.settled(attempt)
        if self._intake is not None:
            self._intake.settled()

    def _defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        settings = self.settings
        defaults: dict[str, Any] = {
            "queue_name": keys.queue(settings.queues[0]),
            "max_jobs": settings.max_jobs,
            "poll_delay": settings.poll_s,
            "keep_result": settings.keep_result_s,
            "job_completion_wait": settings.drain_s,
            "health_check_interval": _HEALTH_INTERVAL,
            "job_serializer": envelope.encode,
            "job_deserializer": envelope.decode,
        }
        if settings.redis_url is not None and not {"redis_pool", "redis_settings"} & set(given):
            defaults["redis_pool"] = open_redis(settings.redis_url.get_secret_value())
        return defaults

    async def _open_pool(self) -> None:
        if self._pool is None:
            self._pool = await create_pool(
                self.redis_settings,
                job_serializer=self.job_serializer,
                job_deserializer=self.job_deserializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
        self.store = JobStore(self.pool)
        self.ctx["redis"] = self.pool

    def _runnables(self) -> dict[str, Runnable]:
        arq_functions: dict[str, Runnable] = {
            name: ArqFunction.of(function, self)
            for name, function in self.functions.items()
            if name not in self.registry
        }
        return {**self.registry, **arq_functions}

    def _make_intake(self) -> Intake:
        lease_ms = int(self.settings.lease_s * 1000)
        return Intake(
            Claimer(self.store, self.queues, self.worker_id, lease_ms, self.executor.on_probation),
            Wakeup(self.store, self.queues, self.poll_delay_s),
            self.executor,
            self.tasks,
            slots=self.max_jobs,
            burst=self.burst,
            burst_left=self._burst_left,
        )

    def _deliveries(self, delivery: Runnable) -> Deliveries:
        return Deliveries(
            self.store, self.settings, self.worker_id, delivery, self._limits(), self.queue, beside=self.executor
        )

    def _burst_left(self) -> int | None:
        if not self.burst or self.max_burst_jobs < 0:
            return None
        return max(0, self.max_burst_jobs - self._jobs_started() - self.executor.backlog)

    def _limits(self) -> Limits:
        settings = self.settings
        kept_ms = FOREVER_MS if self.keep_result_forever else int((self.keep_result_s or 0) * 1000)
        return Limits(
            retention=Retention(int(settings.retention_s * 1000), kept_ms),
            max_rescues=settings.max_rescues,
            unknown_kind_ms=int(settings.unknown_kind_s * 1000),
            cancel_grace_s=settings.cancel_grace_s,
        )

    @asynccontextmanager
    async def _duties(self, intake: Intake) -> AsyncIterator[None]:
        """Keep leases, cancellations, cron and the health record going while jobs run."""
        leases = LeaseKeeper(
            self.pool,
            lease_s=self.settings.lease_s,
            stall_s=self.settings.stall_s,
            running=self.executor.running,
            end=lambda job_id, reason, token: self.executor.end(job_id, reason, token=token),
        )
        cancellations = Cancellations(
            self.store, lambda job_id, token: self.executor.end(job_id, EndReason.CANCEL, token=token)
        )
        watch = watch_over(self, intake, leases, self.queues)
        tasks = [asyncio.create_task(cancellations.run()), asyncio.create_task(self._beat())]
        leases.start()
        try:
            async with watch:
                yield
        finally:
            await end(tasks)
            await leases.stop()

    async def record_health(self) -> None:
        """Do nothing: arq's health record is written with the heartbeat, ``workers.engine.heartbeat``."""

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable), store_errors():
                await self.heart_beat()
                if self.tasks:
                    await self._cancel_aborted_jobs()
            await asyncio.sleep(max(self.poll_delay_s, _SHORTEST_BEAT_S))

    async def _cancel_aborted_jobs(self) -> None:
        for job_id, asked_ms in (await self.store.aborted()).items():
            attempt = self.executor.running.get(job_id)
            if attempt is not None and asked_ms >= attempt.claim.created_ms:
                attempt.end(EndReason.CANCEL)

    async def _drain(self) -> None:
        """Let running jobs end; hand the rest back, at no cost of an attempt; write every outcome."""
        if not await self._intakes.emptied(self._job_completion_wait, self._interrupt):
            self._interrupt.clear()
            for job_id in list(self.executor.running):
                self.executor.end(job_id, EndReason.INTERRUPT)
            await self._intakes.emptied(self.settings.cancel_grace_s + _HAND_BACK_S, self._interrupt)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HAND_BACK_S):
                for executor in (self.executor, *(deliveries.executor for deliveries in self._beside)):
                    await executor.drained()
                await self._hooks.finished()
