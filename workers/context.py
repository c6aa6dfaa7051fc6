"""What a running job may say and ask: its first argument."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from math import isfinite
from numbers import Integral, Real
from typing import Any, Generic, ParamSpec, Protocol, cast, get_type_hints

from pydantic import TypeAdapter
from typing_extensions import TypeVar

from arqway.workers.contract.errors import LeaseLost
from arqway.workers.contract.record import Progress

ResourcesT = TypeVar("ResourcesT", default=Any)
StepT = TypeVar("StepT")
P = ParamSpec("P")


class AttemptLink(Protocol):
    """How one attempt writes to its own job. Every write is fenced: an attempt that lost its job writes nothing."""

    def report(self, progress: Progress) -> None:
        """Write progress soon; a later report may overtake it. Never waits for Redis."""

    async def read_step(self, name: str) -> bytes | None:
        """Return the kept result of a step, as JSON."""

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Keep a step's result and return the one that is kept; None if the job is lost."""


class LocalAttempt:
    """A link to nowhere, for calling a job in a unit test: it remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.steps: dict[str, bytes] = {}

    def report(self, progress: Progress) -> None:
        """Remember the progress."""
        self.reports.append(progress)

    async def read_step(self, name: str) -> bytes | None:
        """Return what ``keep_step`` kept."""
        return self.steps.get(name)

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Remember the first result of the step."""
        return self.steps.setdefault(name, result_json)


class JobContext(Generic[ResourcesT]):
    """One attempt of one job, as the job sees it.

    Args:
        resources: What the registry's ``resources`` opened in this worker process.
        job_id: The same for all attempts, so it can serve as an idempotency key towards others.
        attempt: From 1.
        max_attempts: Attempts in all.
        link: Where progress and steps go; left out in a unit test.
    """

    def __init__(
        self,
        resources: ResourcesT,
        *,
        job_id: str = "local",
        kind: str = "local",
        attempt: int = 1,
        max_attempts: int = 1,
        link: AttemptLink | None = None,
    ) -> None:
        self.resources = resources
        self.job_id = job_id
        self.kind = kind
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.link = link or LocalAttempt()

    @cached_property
    def deadline_near(self) -> asyncio.Event:
        """Set at the soft time limit: time to clean up."""
        return asyncio.Event()

    async def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Report how far the job is.

        Cheap to call often: the latest report is written soon and those it overtook are dropped. It neither waits for
        Redis nor fails when Redis is away.

        Raises:
            TypeError: A number that is none, or not finite.
        """
        self.link.report(Progress(_number(current), None if total is None else _number(total), _clean(message)))
        await asyncio.sleep(0)

    async def step(self, name: str, call: Callable[P, Awaitable[StepT]], *args: P.args, **kwargs: P.kwargs) -> StepT:
        """Run ``call`` once for this job, also across attempts, and return its result.

        The result is kept as JSON by its return annotation. At least once: if the worker dies after the call and before
        its result is kept, the next attempt calls again.

        Raises:
            LeaseLost: Another worker owns this job now; the result was not kept.
            StoreUnavailable: Redis is away.
        """
        adapter: TypeAdapter[Any] = TypeAdapter(get_type_hints(_unwrapped(call)).get("return", Any))
        kept = await self.link.read_step(name)
        if kept is None:
            result = adapter.dump_json(await call(*args, **kwargs), by_alias=True, round_trip=True, warnings="error")
            kept = await self.link.keep_step(name, result)
        if kept is None:
            raise LeaseLost
        return cast(StepT, adapter.validate_json(kept))


def _unwrapped(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind ``functools.partial``, which has no annotations of its own."""
    while isinstance(call, partial):
        call = call.func
    return call


def _number(value: float) -> float:
    if isinstance(value, Real) and isfinite(value):  # numpy's numbers are Real, too
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"progress is a finite number, not {value!r}")


def _clean(message: str | None) -> str | None:
    """Replace lone surrogates, which no UTF-8 answer can carry."""
    return None if message is None else message.encode(errors="replace").decode()
