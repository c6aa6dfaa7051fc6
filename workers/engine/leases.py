"""What a worker learns from Redis about its running jobs: whose lease is lost, and which are to be cancelled.

Our own requests to cancel arrive as a message or, if that is lost, with the next renewal of the lease. Those of stock
arq's ``Job.abort`` are stored in ``arq:abort``.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason
from arqway.workers.runners.executor import Executor
from arqway.workers.store.attempts import Lease
from arqway.workers.store.jobs import JobStore

_RENEWALS_PER_LEASE = 4


async def keep_leases(
    store: JobStore,
    executor: Executor,
    loop: asyncio.AbstractEventLoop,
    *,
    lease_s: float,
    stalled: Callable[[], bool],
) -> None:
    """Renew the leases of all running attempts until cancelled. Survives outages of Redis.

    Args:
        store: Where the leases are; belongs to the side thread, so that a job that blocks ``loop`` keeps its lease.
        executor: Runs the attempts, which are read from the side thread.
        loop: The event loop that runs the attempts.
        lease_s: How long a lease holds.
        stalled: Whether ``loop`` is considered dead, so that its leases are left to expire.
    """
    period_s = lease_s / _RENEWALS_PER_LEASE
    while True:
        attempts = [] if stalled() else list(executor.running.values())
        held = [a.claim for a in attempts if a.elapsed_s >= period_s and not a.abandoned]
        leases = [Lease(claim.id, claim.token, claim.queue) for claim in held]
        with suppress(StoreUnavailable):  # settling a job reveals whether it was lost meanwhile
            answers = await store.renew(leases, lease_ms=int(lease_s * 1000)) if leases else []
            for lease, answer in zip(leases, answers, strict=True):
                if answer != "renewed":
                    reason = EndReason.LOST if answer == "lost" else EndReason.CANCEL
                    with suppress(RuntimeError):  # the loop has closed meanwhile
                        loop.call_soon_threadsafe(partial(executor.end, lease.id, reason, token=lease.token))
        await asyncio.sleep(period_s)


async def cancel_on_request(store: JobStore, executor: Executor) -> None:
    """Cancel running jobs as requests are announced, until cancelled. Survives outages of Redis."""
    backoff = Backoff()
    while True:
        try:
            async for job_id, token in store.cancellations():
                backoff.reset()
                executor.end(job_id, EndReason.CANCEL, token=token)
        except StoreUnavailable:
            await asyncio.sleep(backoff.next_s())


async def cancel_aborted(store: JobStore, executor: Executor, *, look_s: float) -> None:
    """Cancel running jobs that stock arq clients ask to abort, looking every ``look_s``. Survives outages of Redis."""
    while True:
        if executor.running:
            with suppress(StoreUnavailable):
                for job_id, asked_ms in (await store.aborted()).items():
                    attempt = executor.running.get(job_id)
                    if attempt is not None and asked_ms >= attempt.claim.created_ms:
                        attempt.end(EndReason.CANCEL)
        await asyncio.sleep(look_s)
