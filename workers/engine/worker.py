"""``JobWorker``: arq's worker with its claiming, running, renewing, settling and waiting replaced.

Constructor options, signals and the health key are those of ``arq.worker.Worker`` 0.28.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from signal import Signals
from typing import Any, cast

from arq.worker import Worker, func

from workers.attempt import EndReason
from workers.backoff import Backoff
from workers.connection import open_redis, store_errors
from workers.contract import keys
from workers.contract.errors import ConfigurationError, StoreUnavailable
from workers.definition import Registry
from workers.engine.cancellations import Cancellations
from workers.engine.claimer import Claimer, Found
from workers.engine.leases import LeaseKeeper
from workers.engine.wakeup import Wakeup
from workers.executor import Executor, Limits
from workers.outcome import Retention
from workers.settings import Settings
from workers.store import JobStore

logger = logging.getLogger("workers.engine")

_HEALTH_INTERVAL = timedelta(seconds=10)
_CANCEL_AGAIN_S = 0.1
_BACKLOG_PER_SLOT = 4
"""Ended jobs that wait to be settled, for each slot, before no more are claimed: Redis is slower than the jobs."""
_HAND_BACK_S = 5.0
"""How long a stopping worker tries to write its last outcomes while Redis is away; then their leases run out."""


class JobWorker(Worker):
    """Runs the jobs of a registry until it is told to stop.

    Args:
        registry: The jobs it knows; jobs of other kinds are parked for other workers.
        settings: Where Redis is, which queues to serve, and the limits.
        arq_options: As for ``arq.worker.Worker``; they win over ``settings``.
    """

    def __init__(self, registry: Registry, settings: Settings, **arq_options: Any) -> None:
        if settings.redis_url is None:
            raise ConfigurationError("REDIS_URL is not set, and no embedded server was started")
        options = {
            "redis_pool": open_redis(settings.redis_url.get_secret_value()),
            "queue_name": keys.queue(settings.queues[0]),
            "max_jobs": settings.max_jobs,
            "poll_delay": settings.poll_s,
            "keep_result": settings.keep_result_s,
            "job_completion_wait": settings.drain_s,
            "health_check_interval": _HEALTH_INTERVAL,
            **arq_options,
        }
        functions = [func(cast(Any, job.function), name=job.kind, timeout=job.timeout) for job in registry.values()]
        super().__init__(functions, **options)
        self.registry = registry
        self.settings = settings
        self.worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self.store = JobStore(self.pool)
        self._lease_ms = int(settings.lease_s * 1000)
        self._slot_freed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None

    async def main(self) -> None:
        """Serve until stopped: open resources, keep the duties going, claim and run jobs, drain."""
        async with AsyncExitStack() as stack:
            self.ctx["redis"] = self.pool
            resources = await stack.enter_async_context(self.registry.open_resources())
            self.executor = Executor(
                self.store,
                self.registry,
                resources,
                self._limits(),
                released=self._released,
                settled=self._slot_freed.set,
            )
            await stack.enter_async_context(self._duties())
            logger.info("Worker started", extra={"worker": self.worker_id, "kinds": len(self.registry)})
            await self._claim_until_stopped()
            await self._drain()
        logger.info("Worker stopped", extra={"worker": self.worker_id})

    def handle_sig(self, signum: Signals) -> None:
        """Stop claiming and drain; a second signal interrupts what still runs at once."""
        if self._stopping.is_set():
            self._interrupt.set()
        self._stopping.set()
        self._slot_freed.set()
        if self._waiting is not None:
            self._waiting.cancel()
        logger.info("Stopping", extra={"signal": Signals(signum).name, "running": len(self.tasks)})
        if self.on_stop:
            self.on_stop(signum)

    handle_sig_wait_for_completion = handle_sig

    async def close(self) -> None:
        """Release what the worker holds; call after ``async_run`` has returned."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(
            retention=Retention(int(settings.retention_s * 1000), int((self.keep_result_s or 0) * 1000)),
            max_rescues=settings.max_rescues,
            unknown_kind_ms=int(settings.unknown_kind_s * 1000),
            cancel_grace_s=settings.cancel_grace_s,
        )

    @asynccontextmanager
    async def _duties(self) -> AsyncIterator[None]:
        """Keep leases, cancellations and the health record going while jobs run."""
        leases = LeaseKeeper(
            self.pool,
            lease_s=self.settings.lease_s,
            stall_s=self.settings.stall_s,
            running=self.executor.running,
            end=lambda job_id, reason, token: self.executor.end(job_id, reason, token=token),
        )
        cancellations = Cancellations(self.store, lambda job_id: self.executor.end(job_id, EndReason.CANCEL))
        tasks = [asyncio.create_task(cancellations.run()), asyncio.create_task(self._beat())]
        leases.start()
        try:
            yield
        finally:
            await _end(tasks)
            await leases.stop()

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable), store_errors():
                await self.heart_beat()
            await asyncio.sleep(max(self.poll_delay_s, 0.5))

    async def _claim_until_stopped(self) -> None:
        queues = self.settings.queues
        claimer = Claimer(self.store, queues, self.worker_id, self._lease_ms)
        wakeup, backoff = Wakeup(self.store, queues, self.poll_delay_s), Backoff()
        while not self._stopping.is_set():
            try:
                found = await self._fill_slots(claimer)
                if found is not None and not found.jobs:
                    await self._idle(wakeup.wait(found.idle_s))
                backoff.reset()
            except StoreUnavailable as error:
                logger.warning("Redis is away; running jobs go on", extra={"cause": repr(error.__cause__)})
                await self._idle(asyncio.sleep(backoff.next_s()))

    async def _fill_slots(self, claimer: Claimer) -> Found | None:
        """Claim into the free slots; None if there is none, after one has been freed."""
        free = self.max_jobs - len(self.tasks)
        if free <= 0 or self.executor.backlog > _BACKLOG_PER_SLOT * self.max_jobs:
            self._slot_freed.clear()
            await self._slot_freed.wait()
            return None
        found = await claimer.claim(free)
        if self._stopping.is_set():  # the claim was under way when the signal came
            self.executor.hand_back(found.jobs)
            return None
        self.tasks.update(zip((claim.id for claim in found.jobs), self.executor.start(found.jobs), strict=True))
        if self.burst and not self.tasks and found.idle_s is None:
            self._stopping.set()
        return found

    def _released(self, job_id: str) -> None:
        self.tasks.pop(job_id, None)
        self._slot_freed.set()

    async def _idle(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but no longer than until the worker is told to stop."""
        self._waiting = self.loop.create_task(waiting)
        await asyncio.wait([self._waiting])
        if not self._waiting.cancelled():
            self._waiting.result()

    async def _drain(self) -> None:
        """Let running jobs end; hand the rest back, at no cost of an attempt; write every outcome."""
        if not await self._ended_within(self._job_completion_wait):
            for job_id in list(self.executor.running):
                self.executor.end(job_id, EndReason.INTERRUPT)
            await self._ended_within(self.settings.cancel_grace_s + _HAND_BACK_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HAND_BACK_S):
                await self.executor.drained()

    async def _ended_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.tasks and not self._interrupt.is_set():
                    self._slot_freed.clear()
                    await self._slot_freed.wait()
        self._interrupt.clear()
        return not self.tasks


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: one that comes while redis-py connects may turn into a connection error."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
