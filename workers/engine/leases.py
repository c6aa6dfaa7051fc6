"""Keeping leases: renewed from a thread of its own, so that a job which blocks the event loop does not lose its job.

The thread also watches the loop. A loop that is blocked is reported with the stack it hangs in; one that stays blocked
beyond the stall limit is taken for dead, and its leases are left to run out.
"""

import asyncio
import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from arq.connections import ArqRedis

from arqway.workers.attempt import Attempt
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason
from arqway.workers.store.connection import clone
from arqway.workers.store.entries import Lease
from arqway.workers.store.jobs import JobStore

logger = logging.getLogger("arqway.workers.engine")

_RENEWALS_PER_LEASE = 4
_BEAT_S = 0.25
_BLOCKED_S = 1.0
_STACK_FRAMES = 6


class LeaseKeeper:
    """Renews the leases of all running attempts.

    Args:
        redis: Its server and options are used, its connections are not.
        lease_s: How long a lease holds.
        stall_s: How long the event loop may be blocked before its leases are given up.
        running: The attempts of this process; read from the thread.
        end: Called on the event loop with (job id, reason, token) for a lost lease or a job to cancel.
    """

    def __init__(
        self,
        redis: ArqRedis,
        *,
        lease_s: float,
        stall_s: float,
        running: dict[str, Attempt],
        end: Callable[[str, EndReason, str], None],
    ) -> None:
        self.stalled = False
        self._redis = redis
        self._lease_s = lease_s
        self._period_s = lease_s / _RENEWALS_PER_LEASE
        self._stall_s = stall_s
        self._running = running
        self._end = end
        self._stop = threading.Event()
        self._beat_at_s = time.monotonic()
        self._reported = False
        self._thread = threading.Thread(target=self._keep, name="leases", daemon=True)

    @property
    def blocked_s(self) -> float:
        """How long the event loop has not turned, above what is usual. May be asked from any thread."""
        return max(0.0, time.monotonic() - self._beat_at_s - _BEAT_S)

    def start(self) -> None:
        """Start the thread. Called on the event loop that is to be watched."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beat()
        self._thread.start()

    async def stop(self) -> None:
        """Stop renewing, and wait for the thread to end."""
        self._stop.set()
        self._beat_timer.cancel()
        await asyncio.to_thread(self._thread.join)

    def _beat(self) -> None:
        self._beat_at_s = time.monotonic()
        self._beat_timer = self._loop.call_later(_BEAT_S, self._beat)

    def _keep(self) -> None:
        asyncio.run(self._renew_until_stopped())

    async def _renew_until_stopped(self) -> None:
        redis = clone(self._redis)
        store = JobStore(redis)
        try:
            while not await asyncio.to_thread(self._stop.wait, self._period_s):
                self._watch_loop()
                if not self.stalled:
                    await self._renew(store)
        finally:
            await redis.aclose(close_connection_pool=True)

    async def _renew(self, store: JobStore) -> None:
        held = [a for a in list(self._running.values()) if a.elapsed_s >= self._period_s and not a.abandoned]
        if not held:
            return
        leases = [Lease(a.claim.id, a.claim.token, a.claim.queue) for a in held]
        try:
            answers = await store.renew(leases, lease_ms=int(self._lease_s * 1000))
        except StoreUnavailable:
            return  # the next period tries again; the settlement finds out whether the job was lost meanwhile
        for lease, answer in zip(leases, answers, strict=True):
            if answer != "renewed":
                self._tell(lease, EndReason.LOST if answer == "lost" else EndReason.CANCEL)

    def _tell(self, lease: Lease, reason: EndReason) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
            self._loop.call_soon_threadsafe(self._end, lease.id, reason, lease.token)

    def _watch_loop(self) -> None:
        blocked_s = time.monotonic() - self._beat_at_s
        self.stalled = blocked_s > self._stall_s
        if blocked_s < _BLOCKED_S:
            self._reported = False
        elif not self._reported:
            self._reported = True
            self._report(blocked_s)

    def _report(self, blocked_s: float) -> None:
        task = asyncio.current_task(self._loop)
        attempt = next((a for a in list(self._running.values()) if task is not None and a.runs_in(task)), None)
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)[-_STACK_FRAMES:]) if frame else ""
        names = {"job_id": attempt.claim.id, "kind": attempt.claim.kind} if attempt else {}
        extra = {**names, "blocked_s": round(blocked_s, 1), "stack": stack}
        logger.warning("The event loop is blocked; no other job of this worker can go on", extra=extra)
