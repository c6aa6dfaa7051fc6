"""Delivering webhooks beside a worker's jobs, in slots of its own: a slow receiver keeps no job waiting.

Nor do deliveries count as jobs of the worker: not in arq's counters, in its hooks, or in a burst, which ends although
some may be due later.
"""

import asyncio
from typing import Any

from arqway.workers.attempt import Attempt
from arqway.workers.client.queue import JobQueue
from arqway.workers.contract.keys import WEBHOOK_QUEUE
from arqway.workers.definition import Runnable
from arqway.workers.engine.claimer import Claimer
from arqway.workers.engine.intake import Intake
from arqway.workers.engine.wakeup import Wakeup
from arqway.workers.executor import Executor, Limits
from arqway.workers.outcome import Outcome
from arqway.workers.settings import Settings
from arqway.workers.store.entries import SettleAnswer
from arqway.workers.store.jobs import JobStore

_POLL_S = 5.0
"""Their submission wakes the worker, and it knows when the next one is due; this finds what it was not told of."""


class Deliveries:
    """The second intake of a worker, and what follows from it. Implements ``workers.executor.Observer``.

    Args:
        store: Where deliveries are.
        settings: How many run at a time.
        worker_id: Written into their records.
        delivery: The job that is run.
        limits: Bounds that are not the job's own.
        queue: The worker's own client.
        beside: Runs the worker's jobs.
    """

    has_hooks = False

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        worker_id: str,
        delivery: Runnable,
        limits: Limits,
        queue: JobQueue,
        *,
        beside: Executor,
    ) -> None:
        queues = (WEBHOOK_QUEUE,)
        self.executor = Executor(
            store, {delivery.kind: delivery}, None, limits, queue=queue, observer=self, beside=beside
        )
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self.intake = Intake(
            Claimer(store, queues, worker_id, int(settings.lease_s * 1000), self.executor.on_probation),
            Wakeup(store, queues, _POLL_S),
            self.executor,
            self._tasks,
            slots=settings.webhook_slots,
        )

    async def started(self, attempt: Attempt) -> None:
        """Do nothing: arq's hooks are for the worker's jobs."""

    async def ended(self, attempt: Attempt) -> None:
        """Do nothing."""

    def released(self, attempt: Attempt) -> None:
        """Free the delivery's slot."""
        self.intake.released(attempt.claim.id)

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Look again: the backlog has become shorter."""
        self.intake.settled()
