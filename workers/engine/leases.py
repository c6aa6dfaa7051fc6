"""Keeping leases: they are renewed from the side thread, so that a job that blocks the event loop keeps its lease."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason
from arqway.workers.runners.executor import Executor
from arqway.workers.store.attempts import Lease
from arqway.workers.store.jobs import JobStore

_RENEWALS_PER_LEASE = 4


class LeaseKeeper:
    """Renews the leases of all running attempts. Must be created on the event loop that runs them.

    Args:
        executor: Runs the attempts, which are read from the side thread.
        lease_s: How long a lease holds.
        stalled: Whether the event loop is considered dead, so that its leases are left to expire.
    """

    def __init__(self, executor: Executor, *, lease_s: float, stalled: Callable[[], bool]) -> None:
        self._executor = executor
        self._lease_ms = int(lease_s * 1000)
        self._period_s = lease_s / _RENEWALS_PER_LEASE
        self._stalled = stalled
        self._loop = asyncio.get_running_loop()

    async def run(self, store: JobStore) -> None:
        """Renew leases until cancelled. Survives outages of Redis."""
        while True:
            if not self._stalled():
                with suppress(StoreUnavailable):  # settling a job reveals whether it was lost meanwhile
                    await self._renew(store)
            await asyncio.sleep(self._period_s)

    async def _renew(self, store: JobStore) -> None:
        attempts = list(self._executor.running.values())
        held = [a.claim for a in attempts if a.elapsed_s >= self._period_s and not a.abandoned]
        if not held:
            return
        leases = [Lease(claim.id, claim.token, claim.queue) for claim in held]
        for lease, answer in zip(leases, await store.renew(leases, lease_ms=self._lease_ms), strict=True):
            if answer != "renewed":
                reason = EndReason.LOST if answer == "lost" else EndReason.CANCEL
                with suppress(RuntimeError):  # the loop has closed meanwhile
                    self._loop.call_soon_threadsafe(partial(self._executor.end, lease.id, reason, token=lease.token))
