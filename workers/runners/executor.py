"""The core of a worker: claimed → perform (never raises) → decide (pure) → settle (the only write).

Errors of jobs and of the store never share an ``except``: ``perform`` turns whatever the job did into an outcome, and
only ``settle`` talks to the store.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from arqway.workers.client.queue import JobQueue
from arqway.workers.context import JobContext
from arqway.workers.contract.errors import InvalidPayload
from arqway.workers.contract.record import Failure
from arqway.workers.contract.retry import NO_RETRY
from arqway.workers.contract.states import EndReason
from arqway.workers.contract.values import InvalidResult
from arqway.workers.definition import Runnable
from arqway.workers.logs import bind
from arqway.workers.runners.attempt import Attempt
from arqway.workers.runners.observers import Observers
from arqway.workers.runners.outcome import (
    Cancelled,
    Failed,
    Interrupted,
    Outcome,
    Parked,
    Retention,
    Succeeded,
    decide,
    ended,
    raised,
    refused,
    text_of,
)
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim, ProgressWrite, Rest, SettleAnswer, Settlement
from arqway.workers.store.batcher import Batcher
from arqway.workers.store.jobs import JobStore

logger = logging.getLogger("arqway.workers.runners.executor")

_PARK_MS = 5_000
_SETTLE_TURNS = 3
"""Lets the next claim, which free slots are waiting for, reach Redis before the settlements."""
_PROBATION_S = 30.0
"""A rescued job that has run this long probably did not kill the earlier workers, or will not do so soon."""


class Executor:
    """Runs claimed jobs to completion.

    Args:
        store: The store outcomes are written to.
        registry: The jobs this process knows.
        resources: ``ctx.resources`` of every job.
        settings: The limits that do not depend on the job.
        queue: Submits child jobs.
        arq_result_ms: How long ``arq:result:*`` is kept, unless the job says so itself; -1: forever.
        random: Jitters retry delays; seeded in tests.
    """

    def __init__(
        self,
        store: JobStore,
        registry: Mapping[str, Runnable],
        resources: Any,
        settings: Settings,
        *,
        queue: JobQueue,
        arq_result_ms: int,
        random: Random | None = None,
    ) -> None:
        self.running: dict[str, Attempt] = {}
        """Attempts that are running or not yet settled, by job id."""
        self.observers = Observers()
        self._store = store
        self._registry = registry
        self._resources = resources
        self._settings = settings
        self._retention = Retention(int(settings.retention_s * 1000), arq_result_ms)
        self._random = (random or Random()).random  # noqa: S311 - jitter, not a secret
        self._queue = queue
        self._settlements = Batcher(store.settle, size_of=Settlement.size, turns=_SETTLE_TURNS, patient=True)
        self._progress = Batcher(store.write_progress, size_of=ProgressWrite.size)

    def on_probation(self) -> int:
        """Count recently started jobs that were rescued more than once: any of them may be a poison job."""
        return sum(a.claim.rescues > 1 and a.elapsed_s < _PROBATION_S for a in self.running.values())

    def start(self, claims: Sequence[Claim]) -> dict[str, asyncio.Task[None]]:
        """Start each claimed job in its own task; a job already running here simply continues."""
        loop = asyncio.get_running_loop()
        running = self.running
        attempts = [self._attempt(claim) for claim in claims if claim.id not in running or not self._continues(claim)]
        for attempt in attempts:
            self.running[attempt.claim.id] = attempt
            attempt.task = loop.create_task(self.execute(attempt))
        loop.call_soon(_watch, attempts)
        return {attempt.claim.id: attempt.task for attempt in attempts if attempt.task is not None}

    async def execute(self, attempt: Attempt) -> None:
        """Run one claimed job and queue its outcome for settlement. Never raises."""
        claim = attempt.claim
        bind(job_id=claim.id, kind=claim.kind, attempt=claim.attempt)
        try:
            outcome = await self.perform(attempt)
        except Exception as error:
            logger.exception("Arqway itself failed to run a job; please report this")
            outcome = Failed(Failure("internal", "The job could not be run."), error)
        if attempt.abandoned:
            logger.warning("A job that was given up on has ended after all")
        else:
            self._conclude(attempt, outcome)

    def hand_back(self, claims: Sequence[Claim]) -> None:
        """Put claimed jobs that have not started back in their queue; this costs no attempt."""
        for claim in claims:
            if not self._continues(claim):
                self._conclude(self._attempt(claim), Interrupted())

    def end(self, job_id: str, reason: EndReason, *, token: str | None = None) -> None:
        """End a running job. Does nothing if the job, or the attempt identified by ``token``, is not running here."""
        attempt = self.running.get(job_id)
        if attempt is not None and token in {None, attempt.claim.token}:
            attempt.end(reason)

    async def drained(self) -> None:
        """Wait until all outcomes so far have been written."""
        await self._progress.drained()
        await self._settlements.drained()

    async def perform(self, attempt: Attempt) -> Outcome:
        """Run the job and return its outcome. Never raises."""
        claim, settings = attempt.claim, self._settings
        if claim.cancel:
            return Cancelled()
        if claim.rescues > settings.max_rescues:
            return refused("worker_lost", f"{claim.rescues} workers were lost while they ran this job.")
        if claim.left_s <= attempt.elapsed_s:
            return refused("deadline_exceeded", "The job's deadline passed before it could run.")
        if (definition := self._registry.get(claim.kind)) is None:
            if not claim.kind:
                return refused("invalid_payload", "The job's envelope is not the JSON that arq's fields make.")
            if claim.claimed_ms - claim.due_ms < settings.unknown_kind_s * 1000:
                return Parked(_PARK_MS)
            return refused("unknown_kind", "No worker knows this kind of job.")
        try:
            payload = definition.read_envelope(claim.envelope)
        except InvalidPayload as error:
            return refused("invalid_payload", str(error), str(error.errors))
        return await self._call(attempt, definition, payload)

    async def _call(self, attempt: Attempt, definition: Runnable, payload: Any) -> Outcome:
        ctx = JobContext(
            self._resources,
            job_id=attempt.claim.id,
            kind=definition.kind,
            attempt=attempt.claim.attempt,
            max_attempts=definition.retry.max_attempts,
            link=attempt,
        )
        limit_s = min(definition.timeout.total_seconds(), attempt.claim.left_s - attempt.elapsed_s)
        soft_s = definition.soft_timeout.total_seconds() if definition.soft_timeout else None
        attempt.begin(soft_s, limit_s, lambda: ctx.deadline_near.set())
        try:
            result = await self.observers.run(attempt, partial(definition, ctx, payload))
        except BaseException as error:
            return raised(error) if attempt.reason is None else ended(attempt.reason, limit_s)
        finally:
            attempt.close()
        # A job that blocked the event loop or swallowed its cancellation may return a result after its time limit.
        if attempt.timed_out:
            return ended(EndReason.TIMEOUT, limit_s)
        try:
            result_json = definition.write_result(result)
            if len(result_json) > (most := self._settings.max_result_bytes):
                message = f"The result has {len(result_json):,} bytes as JSON; the limit is {most:,}."
                return refused("invalid_result", message)
            return Succeeded(result_json)
        except InvalidResult as error:
            cause = text_of(error.__cause__ or error)
            return refused("invalid_result", "The job's result cannot be written as JSON.", cause)

    def _attempt(self, claim: Claim) -> Attempt:
        return Attempt(claim, self._store, self._progress, self._settings, self._abandon, self._queue)

    def _continues(self, claim: Claim) -> bool:
        """Return whether the job is still running here, its lease having expired while Redis was unavailable.

        If so, its attempt takes over the claim.
        """
        attempt = self.running.get(claim.id)
        if attempt is None or attempt.abandoned or claim.rescues <= attempt.claim.rescues:
            return False  # a claim that is no rescue: the job was settled, but we missed the reply
        attempt.claim = claim
        if claim.cancel:
            attempt.end(EndReason.CANCEL)
        return True

    def _abandon(self, attempt: Attempt) -> None:
        """Settle a job that did not end when cancelled; whatever it writes later is fenced off."""
        reason = attempt.reason or EndReason.LOST
        attempt.abandoned = True
        logger.error(
            "A job did not end when told to, and is given up on; it still holds memory and may hold the loop",
            extra={"job_id": attempt.claim.id, "kind": attempt.claim.kind, "reason": reason.value},
        )
        limit_s = self._registry[attempt.claim.kind].timeout.total_seconds()
        self._conclude(attempt, ended(reason, limit_s))

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> None:
        """Free the slot and queue the outcome to be written."""
        claim = attempt.claim
        definition = self._registry.get(claim.kind)
        policy, retention, rest = NO_RETRY, self._retention, Rest()
        if definition is not None:
            policy = definition.retry
            if definition.keep_result_ms is not None:
                retention = retention._replace(arq_result_ms=definition.keep_result_ms)
            if definition.keep_lease_ms:
                rest["keep_lease"] = definition.keep_lease_ms
            if claim.max_attempts is None:
                rest["max_attempts"] = policy.max_attempts
        if attempt.unwritten is not None:
            rest["progress"] = attempt.unwritten.to_json()
        ended_ms = claim.claimed_ms + int(attempt.elapsed_s * 1000)
        settlement = decide(
            claim, outcome, policy=policy, random=self._random(), retention=retention, ended_ms=ended_ms, rest=rest
        )
        attempt.settled_as, attempt.next_state = settlement.token, settlement.state
        self._settlements.add(settlement, partial(self._settled, attempt, outcome))
        self.observers.released(attempt)

    def _settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer | BaseException) -> None:
        """Handle the store's answer. After a broken connection, ``lost`` may mean that the first write did arrive."""
        if isinstance(answer, asyncio.CancelledError):  # the event loop is closing
            return
        if isinstance(answer, BaseException):
            logger.error("Redis refused to store an outcome", extra=_names(attempt), exc_info=answer)
            answer = "lost"
        if answer == "cancel":
            self._conclude(attempt, Cancelled())
            return
        if answer == "lost" and attempt.settled_as != attempt.claim.token:  # reclaimed while waiting for Redis
            self._conclude(attempt, outcome)
            return
        if self.running.get(attempt.claim.id) is attempt:
            del self.running[attempt.claim.id]
        if answer == "lost":
            logger.warning("Another worker owns this job now; its outcome here is dropped", extra=_names(attempt))
        elif isinstance(outcome, Failed):
            cause = outcome.error if outcome.failure.traceback else None
            extra = {**_names(attempt), "code": outcome.failure.code}
            logger.warning("Attempt failed", extra=extra, exc_info=cause)
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("Attempt %s", type(outcome).__name__.lower(), extra=_names(attempt))
        self.observers.settled(attempt, outcome, answer)


def _watch(attempts: Sequence[Attempt]) -> None:
    for attempt in attempts:
        attempt.watch()


def _names(attempt: Attempt) -> dict[str, Any]:
    claim = attempt.claim
    return {"job_id": claim.id, "kind": claim.kind, "attempt": claim.attempt, "ran_s": round(attempt.elapsed_s, 3)}
