"""The tidier: keeps lists of jobs from growing with jobs that are gone.

A record ends by itself, its place in a list does not. Of all workers of a server one tidies at a time.
"""

import asyncio
import logging
from random import random

from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.engine.heartbeat import BEATS, PERIOD_S
from arqway.workers.store.lists import Catalogue

logger = logging.getLogger("arqway.workers.engine")

_IDS = 1_000
"""Looked at by one call of the script: about a millisecond of the server's time."""
_CALLS = 50
"""In a row, before others have their turn."""
_MANY = 0.1
"""Of those looked at: where more are gone than that, still more may be."""
_TIDY_S = PERIOD_S * 6
"""From one round to the next where nothing was gone."""
_OFFICE_MS = int(_TIDY_S * BEATS * 1000)


class Tidier:
    """Tidies for one worker.

    Args:
        worker_id: Holds the office of tidying, for some rounds longer than it comes to tidy.
    """

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    async def run(self, catalogue: Catalogue) -> None:
        """Tidy until cancelled. Redis may come and go."""
        while True:
            pause_s = PERIOD_S
            try:
                if await self.tidy(catalogue) == 0:
                    pause_s = _TIDY_S
            except StoreUnavailable:
                pass
            except Exception:
                logger.exception("Arqway itself failed to tidy the lists of jobs; please report this")
            await asyncio.sleep(pause_s)

    async def tidy(self, catalogue: Catalogue) -> int:
        """Look at some lists, and at more while many of their jobs are gone; return how many ids were removed."""
        removed = 0
        for _ in range(_CALLS):
            place = random()  # noqa: S311 - no secret
            done = await catalogue.tidy(self._worker_id, office_ms=_OFFICE_MS, count=_IDS, random=place)
            if done is None:
                break
            removed += done.removed
            if done.removed <= done.looked * _MANY:
                break
        return removed
