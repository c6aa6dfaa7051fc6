"""Observers of an executor's attempts: hooks, counters, and the intake that refills free slots."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from arqway.workers.runners.attempt import Attempt
from arqway.workers.runners.outcome import Outcome
from arqway.workers.store.attempts import SettleAnswer

logger = logging.getLogger("arqway.workers.runners.executor")

_FAILED = "An observer of jobs failed"


class Observer:
    """Receives events of attempts. A subclass overrides the methods it needs; only overridden ones are called."""

    async def started(self, attempt: Attempt) -> None:
        """Called before the job runs; the job waits for this to return."""

    async def ended(self, attempt: Attempt) -> None:
        """Called after the job has run; writing its outcome waits for this to return."""

    def released(self, attempt: Attempt) -> None:
        """Called when the job no longer runs here, possibly before its outcome is written. May be called twice."""

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Called once per attempt, after ``released``, when its outcome has been written or refused."""


class Observers:
    """The observers of one executor, notified in the order they were added. Their exceptions are logged and ignored."""

    def __init__(self) -> None:
        self._around: list[Observer] = []
        self._on_release: list[Callable[[Attempt], None]] = []
        self._on_settled: list[Callable[[Attempt, Outcome, SettleAnswer], None]] = []

    def add(self, observer: Observer) -> None:
        """Notify ``observer`` of all events from now on."""
        kind = type(observer)
        if kind.started is not Observer.started or kind.ended is not Observer.ended:
            self._around.append(observer)
        if kind.released is not Observer.released:
            self._on_release.append(observer.released)
        if kind.settled is not Observer.settled:
            self._on_settled.append(observer.settled)

    def run(self, attempt: Attempt, job: Callable[[], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, Any]:
        """Return a coroutine that runs ``job`` between ``started`` and ``ended`` and returns or raises what it does."""
        return self._run_between(attempt, job) if self._around else job()

    def released(self, attempt: Attempt) -> None:
        """Report that the job no longer runs here."""
        for notify in self._on_release:
            try:
                notify(attempt)
            except Exception:
                logger.exception(_FAILED)

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Report that the outcome has been written or refused."""
        for notify in self._on_settled:
            try:
                notify(attempt, outcome, answer)
            except Exception:
                logger.exception(_FAILED)

    async def _run_between(self, attempt: Attempt, job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        for observer in self._around:
            await _wait_for(observer.started, attempt)
        try:
            return await job()
        finally:
            for observer in self._around:
                await _wait_for(observer.ended, attempt)


async def _wait_for(notify: Callable[[Attempt], Awaitable[None]], attempt: Attempt) -> None:
    try:
        await notify(attempt)
    except Exception:
        logger.exception(_FAILED)
