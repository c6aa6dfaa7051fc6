"""Cancelling: a request reaches the running job by a message, and by the next renewal if the message is lost."""

import asyncio
import logging
from collections.abc import Callable

from arqway.workers.background import Backoff
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.store.jobs import JobStore

logger = logging.getLogger("arqway.workers.engine")


class Cancellations:
    """Listens for requests to cancel running jobs, for as long as the worker lives."""

    def __init__(self, store: JobStore, cancel: Callable[[str, str], None]) -> None:
        self._store = store
        self._cancel = cancel

    async def run(self) -> None:
        """Hand each announced (job id, token) to ``cancel``. Ends only by cancellation; Redis may come and go."""
        backoff = Backoff()
        while True:
            try:
                async for job_id, token in self._store.cancellations():
                    backoff.reset()
                    self._cancel(job_id, token)
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())
