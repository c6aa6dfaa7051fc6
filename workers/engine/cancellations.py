"""Requests to cancel running jobs.

Ours arrive as a message or, if that is lost, with the next renewal of the lease. Those of stock arq's ``Job.abort`` are
stored in ``arq:abort``.
"""

import asyncio
from contextlib import suppress

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.contract.states import EndReason
from arqway.workers.runners.executor import Executor
from arqway.workers.store.jobs import JobStore


class Cancellations:
    """Cancels the jobs of an executor on request.

    Args:
        store: Where requests are made.
        executor: Runs the jobs.
        look_s: How often to look for requests of stock arq clients.
    """

    def __init__(self, store: JobStore, executor: Executor, *, look_s: float) -> None:
        self._store = store
        self._executor = executor
        self._look_s = look_s

    async def listen(self) -> None:
        """Cancel jobs as requests are announced. Survives outages of Redis."""
        backoff = Backoff()
        while True:
            try:
                async for job_id, token in self._store.cancellations():
                    backoff.reset()
                    self._executor.end(job_id, EndReason.CANCEL, token=token)
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def look_for_aborts(self) -> None:
        """Cancel jobs that stock arq clients ask to abort. Survives outages of Redis."""
        while True:
            if self._executor.running:
                with suppress(StoreUnavailable):
                    for job_id, asked_ms in (await self._store.aborted()).items():
                        attempt = self._executor.running.get(job_id)
                        if attempt is not None and asked_ms >= attempt.claim.created_ms:
                            attempt.end(EndReason.CANCEL)
            await asyncio.sleep(self._look_s)
