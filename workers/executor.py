"""The heart: claimed → perform (never raises) → decide (pure) → settle (the one write).

A job's error and a storage error never share an ``except``: ``perform`` turns whatever the job did into an outcome, and
only ``settle`` talks to the store.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from workers.attempt import Attempt, EndReason
from workers.context import JobContext
from workers.contract.errors import DiscardJob, InvalidPayload, JobTimedOut, RetryJob
from workers.contract.record import Failure
from workers.contract.retry import NO_RETRY
from workers.definition import InvalidResult, JobDefinition, Registry
from workers.group_commit import GroupCommit
from workers.logs import bind
from workers.outcome import Cancelled, Failed, Interrupted, Outcome, Parked, Retention, Succeeded, decide
from workers.settler import Settler
from workers.store import Claim, JobStore, ProgressWrite, SettleAnswer, Settlement

logger = logging.getLogger("workers.executor")

_PARK_MS = 5_000
_DETAIL_CHARS = 1_000
_TRACEBACK_CHARS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the executor takes from the settings."""

    retention: Retention
    max_rescues: int
    unknown_kind_ms: int
    cancel_grace_s: float


class Executor:
    """Runs claimed jobs to their end.

    Args:
        store: Where outcomes are written.
        registry: The jobs this process knows.
        resources: ``ctx.resources`` of every job.
        limits: Bounds that are not the job's own.
        random: Jitters retry delays; seeded in tests.
        settled: Called when an outcome has been written.
        released: Called with a job's id when it does not run here any more; its outcome may still be on its way.
    """

    def __init__(
        self,
        store: JobStore,
        registry: Registry,
        resources: Any,
        limits: Limits,
        *,
        random: Random | None = None,
        released: Callable[[str], None] = lambda _job_id: None,
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        self.running: dict[str, Attempt] = {}
        self._store = store
        self._registry = registry
        self._resources = resources
        self._limits = limits
        self._random = (random or Random()).random  # noqa: S311 - jitter, not a secret
        self._released = released
        self._noticed = settled
        self._settler = Settler(store, self._settled)
        self._progress: GroupCommit[ProgressWrite, bool] = GroupCommit(store.write_progress)

    @property
    def backlog(self) -> int:
        """How many ended attempts are not written yet."""
        return self._settler.backlog

    def start(self, claims: Sequence[Claim]) -> list[asyncio.Task[None]]:
        """Run claimed jobs, each in a task of its own."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self.execute(claim)) for claim in claims]
        loop.call_soon(self._watch, claims)
        return tasks

    async def execute(self, claim: Claim) -> None:
        """Run one claimed job, and hand its outcome over to be settled. Never raises."""
        bind(job_id=claim.id, kind=claim.kind, attempt=claim.attempt)
        attempt = Attempt(claim, self._store, self._progress, self._limits.cancel_grace_s, self._abandon)
        self.running[claim.id] = attempt
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
        """Return jobs that were claimed and not begun, at no cost of an attempt."""
        for claim in claims:
            self._conclude(Attempt(claim, self._store, self._progress, 0, self._abandon), Interrupted())

    def end(self, job_id: str, reason: EndReason, *, token: str | None = None) -> None:
        """Tell a running job to end; nothing happens if it, or the attempt named by ``token``, does not run here."""
        attempt = self.running.get(job_id)
        if attempt is not None and token in {None, attempt.claim.token}:
            attempt.end(reason)

    async def drained(self) -> None:
        """Return when every outcome so far is written."""
        await self._progress.drained()
        await self._settler.drained()

    async def perform(self, attempt: Attempt) -> Outcome:
        """Run the job, and return what came of it. Never raises."""
        claim = attempt.claim
        if claim.cancel:
            return Cancelled()
        if claim.rescues > self._limits.max_rescues:
            return _refused("worker_lost", f"{claim.rescues} workers were lost while they ran this job.")
        if (definition := self._registry.get(claim.kind)) is None:
            return self._unknown_kind(claim)
        try:
            payload = definition.read_envelope(claim.envelope)
        except InvalidPayload as error:
            return _refused("invalid_payload", str(error), str(error.errors))
        return await self._run(attempt, definition, payload)

    async def _run(self, attempt: Attempt, definition: JobDefinition[Any, Any], payload: Any) -> Outcome:
        ctx = JobContext(
            self._resources,
            job_id=attempt.claim.id,
            kind=definition.kind,
            attempt=attempt.claim.attempt,
            max_attempts=definition.retry.max_attempts,
            link=attempt,
        )
        limit_s = definition.timeout.total_seconds()
        soft_s = definition.soft_timeout.total_seconds() if definition.soft_timeout else None
        attempt.begin(soft_s, limit_s, lambda: ctx.deadline_near.set())
        try:
            result = await definition(ctx, payload)
        except BaseException as error:
            return _raised(error) if attempt.reason is None else _ended(attempt.reason, limit_s)
        finally:
            attempt.close()
        # A job that blocked the loop, or swallowed its cancellation, may come back after its time with a result.
        if attempt.timed_out:
            return _ended(EndReason.TIMEOUT, limit_s)
        try:
            return Succeeded(definition.write_result(result))
        except InvalidResult as error:
            return _refused(
                "invalid_result", "The job's result cannot be written as JSON.", _text_of(error.__cause__ or error)
            )

    def _watch(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            if attempt := self.running.get(claim.id):
                attempt.watch()

    def _unknown_kind(self, claim: Claim) -> Outcome:
        if not claim.kind:
            return _refused("invalid_payload", "The job's envelope is not the JSON that arq's fields make.")
        if claim.claimed_ms - claim.due_ms < self._limits.unknown_kind_ms:
            return Parked(_PARK_MS)
        return _refused("unknown_kind", "No worker knows this kind of job.")

    def _abandon(self, attempt: Attempt) -> None:
        """Settle without the job, which did not end when told to; whatever it does later is fenced off."""
        reason = attempt.reason or EndReason.LOST
        attempt.abandoned = True
        logger.error(
            "A job did not end when told to, and is given up on; it still holds memory and may hold the loop",
            extra={"job_id": attempt.claim.id, "kind": attempt.claim.kind, "reason": reason.value},
        )
        limit_s = self._registry[attempt.claim.kind].timeout.total_seconds()
        self._conclude(attempt, _ended(reason, limit_s))

    def _conclude(self, attempt: Attempt, outcome: Outcome) -> None:
        """Free the slot, and have the outcome written."""
        self._settler.add(self._decide(attempt, outcome), (attempt, outcome))
        self._released(attempt.claim.id)

    def _settled(self, about: tuple[Attempt, Outcome], answer: SettleAnswer) -> None:
        attempt, outcome = about
        if answer == "cancel":
            self._settler.add(self._decide(attempt, Cancelled()), (attempt, Cancelled()))
            return
        if self.running.get(attempt.claim.id) is attempt:
            del self.running[attempt.claim.id]
        self._log(attempt, outcome, answer)
        self._noticed()

    def _decide(self, attempt: Attempt, outcome: Outcome) -> Settlement:
        definition = self._registry.get(attempt.claim.kind)
        settlement = decide(
            attempt.claim,
            outcome,
            policy=definition.retry if definition else NO_RETRY,
            random=self._random(),
            retention=self._limits.retention,
            ended_ms=attempt.claim.claimed_ms + int(attempt.elapsed_s * 1000),
        )
        return settlement._replace(progress_json=attempt.unwritten.to_json()) if attempt.unwritten else settlement

    def _log(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        if answer == "lost":
            logger.warning("Another worker owns this job now; its outcome here is dropped", extra=_names(attempt))
        elif isinstance(outcome, Failed):
            cause = outcome.error if outcome.failure.traceback else None
            extra = {**_names(attempt), "code": outcome.failure.code}
            logger.warning("Attempt failed", extra=extra, exc_info=cause)
        elif logger.isEnabledFor(logging.DEBUG):
            logger.debug("Attempt %s", type(outcome).__name__.lower(), extra=_names(attempt))


def _names(attempt: Attempt) -> dict[str, Any]:
    claim = attempt.claim
    return {"job_id": claim.id, "kind": claim.kind, "attempt": claim.attempt, "ran_s": round(attempt.elapsed_s, 3)}


def _ended(reason: EndReason, limit_s: float) -> Outcome:
    match reason:
        case EndReason.TIMEOUT:
            message = f"The job did not finish within its time limit of {limit_s:g} s."
            return Failed(Failure("timeout", message), JobTimedOut(message))
        case EndReason.CANCEL:
            return Cancelled()
        case EndReason.INTERRUPT | EndReason.LOST:  # what a lost attempt settles is fenced off by its token
            return Interrupted()


def _refused(code: str, message: str, detail: str | None = None) -> Failed:
    """Return the failure of a job that no further attempt can mend."""
    return Failed(Failure(code, message, detail=detail), DiscardJob(code, message))


def _raised(error: BaseException) -> Failed:
    if isinstance(error, DiscardJob):
        return Failed(Failure(_clean(error.code), _clean(error.message)), error)
    if isinstance(error, RetryJob):
        return Failed(Failure("retry_asked", "The job asked to be tried again.", detail=_text_of(error)), error)
    kind = type(error)
    return Failed(
        Failure(
            "exception",
            "The job ended with an unexpected error.",
            error=f"{kind.__module__}.{kind.__qualname__}",
            detail=_text_of(error),
            traceback=_clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]),
        ),
        error,
    )


def _text_of(error: BaseException) -> str:
    try:
        return _clean(str(error)[:_DETAIL_CHARS])
    except Exception:  # an exception's __str__ is its author's code
        return "(no text: its __str__ failed)"


def _clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 answer can carry."""
    return text.encode(errors="replace").decode()
