"""``JobWorker``: arq's worker with its claiming, running, renewing, settling and waiting replaced.

Constructor options, functions, cron jobs, hooks, burst mode, signals and the health key are those of
``arq.worker.Worker`` 0.28. ``docs/architecture.md`` describes the differences.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from signal import Signals
from typing import Any, NoReturn, cast

from arq.connections import create_pool
from arq.worker import Worker, func

from arqway.workers.background import end
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason
from arqway.workers.definition import Runnable
from arqway.workers.engine.arq_function import FOREVER_MS, ArqFunction
from arqway.workers.engine.duties import duties_of
from arqway.workers.engine.hooks import Counters, Hooks
from arqway.workers.engine.intake import Intake
from arqway.workers.engine.slots import Slots
from arqway.workers.engine.threads import JobThreads
from arqway.workers.registry import Registry
from arqway.workers.runners.executor import Executor
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis, store_errors, with_own_connections
from arqway.workers.store.jobs import JobStore
from arqway.workers.webhooks.delivery import open_delivery

logger = logging.getLogger("arqway.workers.engine")

_HEALTH_INTERVAL = timedelta(seconds=30)
_DELIVERY_POLL_S = 5.0
"""Submitting a webhook delivery wakes the worker, and it knows when the next one is due; polling finds any other."""
_HAND_BACK_S = 5.0
"""How long a stopping worker tries to write its last outcomes while Redis is away; then their leases expire."""


class JobWorker(Worker):
    """Runs jobs until it is told to stop.

    Args:
        functions: arq's own functions, as for ``arq.worker.Worker``.
        registry: Jobs defined with ``@job``. Jobs of kinds in neither are parked for other workers.
        settings: Where Redis is, which queues to serve, and the limits; read from the environment by default.
        worker_id: Identifies this process in records; never reuse one. By default host, pid and a random part.
        arq_options: As for ``arq.worker.Worker``; they take precedence over ``settings``.
    """

    threads: JobThreads | None = None
    """The threads of the process, if it was started for this worker alone."""

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
        self._hooks = Hooks(self, self.queues)
        self._intake: Intake | None = None

    async def main(self) -> None:
        """Serve until stopped: open resources, run the duties, claim and run jobs, drain.

        Raises:
            DutyError: A duty keeps failing. Running jobs were handed back.
        """
        await self._open_pool()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.store.lanes())
            if self.on_startup:
                await self.on_startup(self.ctx)
            resources = await stack.enter_async_context(self.registry.open_resources())
            runnables, slots = self._runnables(), [self._job_slots()]
            if self.settings.webhook_secrets:
                delivery = await stack.enter_async_context(open_delivery(self.settings, self.store))
                runnables[delivery.kind] = delivery
                slots.append(
                    Slots(queues=[keys.WEBHOOK_QUEUE], count=self.settings.webhook_slots, poll_s=_DELIVERY_POLL_S)
                )
            self.queue = JobQueue(self.store, self.registry, self.settings)
            kept_ms = FOREVER_MS if self.keep_result_forever else int((self.keep_result_s or 0) * 1000)
            self.executor = Executor(
                self.store, runnables, resources, self.settings, queue=self.queue, arq_result_ms=kept_ms
            )
            self.executor.observers.add(Counters(self, self.queues))
            if self.on_job_start or self.on_job_end or self.after_job_end:
                self.executor.observers.add(self._hooks)
            lease_s = self.settings.lease_s
            intake = Intake(self.store, self.executor, slots, worker_id=self.worker_id, lease_s=lease_s)
            self._intake = intake
            if not self.allow_pick_jobs:  # told to stop before it started
                intake.stop()
            duties = await stack.enter_async_context(duties_of(self, slots, {*self.functions, *runnables}))
            logger.info("Worker started", extra={"worker": self.worker_id, "kinds": len(self.functions)})
            await self._serve(intake, duties)
        self.allow_pick_jobs, self._intake = True, None
        logger.info("Worker stopped", extra={"worker": self.worker_id})

    def handle_sig(self, signum: Signals) -> None:
        """Stop claiming and drain; a second signal interrupts running jobs at once."""
        if self._intake is not None:
            self._intake.stop()
            if not self.allow_pick_jobs:
                self._intake.hurry()
        self.allow_pick_jobs = False
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

    async def record_health(self) -> None:
        """Do nothing: arq's health record is written with the heartbeat, ``workers.engine.heartbeat``."""

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
            pool = await create_pool(
                self.redis_settings,
                job_serializer=self.job_serializer,
                job_deserializer=self.job_deserializer,
                default_queue_name=self.queue_name,
                expires_extra_ms=self.expires_extra_ms,
            )
            await pool.connection_pool.disconnect()
            self._pool = with_own_connections(pool)
        self.store = JobStore(self.pool)
        self.ctx["redis"] = self.pool

    def _runnables(self) -> dict[str, Runnable]:
        arq_functions: dict[str, Runnable] = {
            name: ArqFunction.of(function, self)
            for name, function in self.functions.items()
            if name not in self.registry
        }
        return {**self.registry, **arq_functions}

    def _job_slots(self) -> Slots:
        limited = self.burst and self.max_burst_jobs >= 0
        return Slots(
            queues=self.queues,
            count=self.max_jobs,
            poll_s=self.poll_delay_s,
            tasks=self.tasks,
            burst=self.burst,
            limit=max(0, self.max_burst_jobs - self._jobs_started()) if limited else None,
        )

    async def _serve(self, intake: Intake, duties: Sequence["asyncio.Task[NoReturn]"]) -> None:
        """Claim and run jobs until told to stop, then drain. Also ends when a duty or the intake does."""
        claiming = asyncio.create_task(intake.run())
        try:
            done, _ = await asyncio.wait([claiming, *duties], return_when=asyncio.FIRST_COMPLETED)
            intake.stop()
            await asyncio.wait([claiming])
            if done != {claiming} or claiming.exception() is not None:
                intake.hurry()
            await self._drain(intake)
        finally:
            await end([claiming])
        for task in (*done, claiming):
            task.result()

    async def _drain(self, intake: Intake) -> None:
        """Let running jobs end, hand the rest back without using up an attempt, and write every outcome."""
        if not await intake.emptied(self._job_completion_wait):
            for job_id in list(self.executor.running):
                self.executor.end(job_id, EndReason.INTERRUPT)
            await intake.emptied(self.settings.cancel_grace_s + _HAND_BACK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HAND_BACK_S):
                await self.executor.drained()
                await self._hooks.finished()
