"""The duties of a worker: what runs alongside its jobs, in its own thread and in the side thread."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from arq.connections import ArqRedis

from arqway.workers.background import Duty, end, supervised
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.engine.health import listen, serve_health
from arqway.workers.engine.heartbeat import BEATS, PERIOD_S, Heartbeat
from arqway.workers.engine.leases import cancel_aborted, cancel_on_request, keep_leases
from arqway.workers.engine.loop_watch import LoopWatch
from arqway.workers.engine.side_thread import SideThread
from arqway.workers.engine.slots import Slots
from arqway.workers.engine.vitals import Vitals
from arqway.workers.store.connection import store_errors
from arqway.workers.store.jobs import JobStore
from arqway.workers.store.workers import Fleet

if TYPE_CHECKING:
    from arqway.workers.engine.worker import JobWorker

_CRON_S = 0.5
"""arq's own shortest time between two checks for due cron jobs."""


@asynccontextmanager
async def duties_of(
    worker: "JobWorker", slots: Sequence[Slots], kinds: Collection[str]
) -> "AsyncIterator[list[asyncio.Task[NoReturn]]]":
    """Run the duties of ``worker`` for the time of the block.

    Args:
        worker: Its executor, store and pool are open.
        slots: All slots that it fills, those of its own jobs first.
        kinds: All kinds that it runs.

    Yields:
        Tasks that end only if a duty keeps failing, with DutyError.

    Raises:
        ConfigurationError: The health port cannot be opened.
    """
    store, executor, settings = worker.store, worker.executor, worker.settings
    look_s = max(worker.poll_delay_s, _CRON_S)
    own: dict[str, Duty] = {
        "cancellations": partial(cancel_on_request, store, executor),
        "aborts": partial(cancel_aborted, store, executor, look_s=look_s),
        "cron": partial(_run_cron_jobs, worker, look_s),
    }
    if worker.threads is not None:
        own["threads"] = worker.threads.watch
    async with AsyncExitStack() as stack:
        watch = stack.enter_context(closing(LoopWatch(executor.running)))
        vitals = Vitals(
            blocked_s=lambda: watch.blocked_s,
            claimed_at_s=lambda: slots[0].looked_at_s,
            stopping=lambda: not worker.allow_pick_jobs,
            full=lambda: slots[0].full,
            poll_s=worker.poll_delay_s,
            stall_s=settings.stall_s,
            heard_within_s=BEATS * PERIOD_S,
        )
        queues = [queue for each in slots for queue in each.queues]
        heartbeat = Heartbeat(worker, vitals, queues=queues, kinds=kinds)
        renew = partial(
            keep_leases,
            executor=executor,
            loop=asyncio.get_running_loop(),
            lease_s=settings.lease_s,
            stalled=vitals.stalled,
        )
        side_duties: dict[str, Duty] = {"loop watch": watch.run}
        if settings.worker_health_port is not None:
            listener = stack.enter_context(listen(settings.worker_health_host, settings.worker_health_port))
            side_duties["health port"] = partial(serve_health, vitals, listener)

        @asynccontextmanager
        async def open_side_duties(redis: ArqRedis) -> AsyncIterator[Mapping[str, Duty]]:
            fleet = Fleet(redis)
            beating = {"leases": partial(renew, JobStore(redis)), "heartbeat": partial(heartbeat.run, fleet)}
            try:
                yield {**beating, **side_duties}
            finally:
                await heartbeat.farewell(fleet)

        side = await stack.enter_async_context(SideThread(worker.pool, open_side_duties))
        tasks = await stack.enter_async_context(supervised(own))
        side_task = asyncio.create_task(side.watch())
        stack.push_async_callback(end, [side_task])
        yield [*tasks, side_task]


async def _run_cron_jobs(worker: "JobWorker", look_s: float) -> None:
    """Enqueue cron jobs when they are due. Survives outages of Redis."""
    while True:
        with suppress(StoreUnavailable), store_errors():
            await worker.heart_beat()
        await asyncio.sleep(look_s)
