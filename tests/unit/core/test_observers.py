"""Observers hear of attempts in their order; what one of them raises harms neither the job nor the others."""

from typing import Any, cast

import pytest

from arqway.workers.runners.attempt import Attempt
from arqway.workers.runners.observers import Observer, Observers
from arqway.workers.runners.outcome import Cancelled, Outcome
from arqway.workers.store.attempts import SettleAnswer

ATTEMPT = cast(Attempt, object())
ALL = ["started", "ended", "released", "settled"]


class Listener(Observer):
    """Notes what it hears, and raises if it is told to."""

    def __init__(self, name: str, heard: list[str], *, raises: bool = False) -> None:
        self._name = name
        self._heard = heard
        self._raises = raises

    async def started(self, attempt: Attempt) -> None:
        """Note it."""
        self._note("started")

    async def ended(self, attempt: Attempt) -> None:
        """Note it."""
        self._note("ended")

    def released(self, attempt: Attempt) -> None:
        """Note it."""
        self._note("released")

    def settled(self, attempt: Attempt, outcome: Outcome, answer: SettleAnswer) -> None:
        """Note it."""
        self._note("settled")

    def _note(self, what: str) -> None:
        self._heard.append(f"{self._name} {what}")
        if self._raises:
            raise RuntimeError(what)


class Mute(Observer):
    """Wants to hear nothing."""


async def all_of_a_life(observers: Observers, result: Any) -> Any:
    """Tell observers of one attempt from its begin to its end."""

    async def work() -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    try:
        return await observers.run(ATTEMPT, work)
    finally:
        observers.released(ATTEMPT)
        observers.settled(ATTEMPT, Cancelled(), "settled")


@pytest.mark.parametrize("raises", [False, True])
async def test_all_hear_all(raises: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Each is told of each event, in the order in which they were added, although one before it raises."""
    heard: list[str] = []
    observers = Observers()
    for observer in (Mute(), Listener("a", heard, raises=raises), Mute(), Listener("b", heard)):
        observers.add(observer)
    assert await all_of_a_life(observers, 7) == 7
    assert heard == [f"{name} {what}" for what in ALL for name in "ab"]
    assert [str(line.exc_info[1]) for line in caplog.records if line.exc_info] == (ALL if raises else [])


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), GeneratorExit()], ids=repr)
async def test_a_job_that_raises_has_ended_too(error: BaseException) -> None:
    """Whatever the job raises comes out as it is, after ``ended``."""
    heard: list[str] = []
    observers = Observers()
    observers.add(Listener("a", heard, raises=True))
    with pytest.raises(type(error)):
        await all_of_a_life(observers, error)
    assert heard == [f"a {what}" for what in ALL]


async def test_a_job_without_observers_runs() -> None:
    """Nobody has to listen."""
    assert await all_of_a_life(Observers(), "result") == "result"
