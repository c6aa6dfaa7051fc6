"""Who hears what happens to the attempts of an executor: hooks, counters, and the intake that fills free slots."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from arqway.workers.attempt import Attempt
from arqway.workers.outcome import Outcome
from arqway.workers.store.entries import SettleAnswer

logger = logging.getLogger("arqway.workers.executor")

_FAILED = "An observer of jobs failed"


class Observer:
    """Hears of attempts. A subclass defines the methods for what it wants to hear; no other is called."""

    async def started(self, attempt: Attempt) -> None:
        """The job is about to run, and waits for this to return."""

    async def ended(self, attempt: Attempt) -> None:
        """The job has run. Its outcome is not written yet, and waits for this to return."""

    def released(self, attempt: Attempt) -> None:
        """The job no longer runs here, though its outcome may not be written yet. An attempt may be released twice."""

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """The outcome is written, or was refused. Called once for each attempt, after ``released``."""


class Observers:
    """The observers of one executor, told in the order of their coming. One that raises is logged, and harms nobody."""

    def __init__(self) -> None:
        self._around: list[Observer] = []
        self._on_release: list[Callable[[Attempt], None]] = []
        self._on_settled: list[Callable[[Attempt, Outcome, SettleAnswer], None]] = []

    def add(self, observer: Observer) -> None:
        """Let ``observer`` hear of everything from now on."""
        kind = type(observer)
        if kind.started is not Observer.started or kind.ended is not Observer.ended:
            self._around.append(observer)
        if kind.released is not Observer.released:
            self._on_release.append(observer.released)
        if kind.settled is not Observer.settled:
            self._on_settled.append(observer.settled)

    def run(self, attempt: Attempt, job: Callable[[], Coroutine[Any, Any, Any]]) -> Coroutine[Any, Any, Any]:
        """Return what runs ``job`` between ``started`` and ``ended``, and returns or raises what it does."""
        return self._run_between(attempt, job) if self._around else job()

    def released(self, attempt: Attempt) -> None:
        """Tell that the job no longer runs here."""
        for hear in self._on_release:
            try:
                hear(attempt)
            except Exception:
                logger.exception(_FAILED)

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Tell that the outcome is written, or was refused."""
        for hear in self._on_settled:
            try:
                hear(attempt, outcome, answer)
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


async def _wait_for(hear: Callable[[Attempt], Awaitable[None]], attempt: Attempt) -> None:
    try:
        await hear(attempt)
    except Exception:
        logger.exception(_FAILED)
