"""What may be a job, and how jobs are found by their kind."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from arqway.workers.context import JobContext, LocalAttempt
from arqway.workers.contract.errors import ConfigurationError, UnknownKind
from arqway.workers.contract.record import Progress
from arqway.workers.contract.retry import NO_RETRY
from arqway.workers.definition import job
from arqway.workers.registry import Registry, no_resources
from tests.unit.core.samples import Order, count, define


async def _no_annotations(ctx, payload):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Lack types."""


async def _no_result(ctx: Any, payload: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Lack the result's type."""


async def _no_payload(ctx: Any) -> int:
    """Lack the payload."""
    return 1


async def _one_more(ctx: Any, payload: int, more: int = 1) -> int:
    """Want one more."""
    return 1


async def _by_name_only(ctx: Any, *, payload: int) -> int:
    """Want the payload by name."""
    return 1


async def _any_number(*ctx: Any, **payload: int) -> int:
    """Want whatever there is."""
    return 1


def _not_async(ctx: Any, payload: int) -> int:
    return 1


async def _generator(ctx: Any, payload: int) -> Any:
    yield 1


@pytest.mark.parametrize(
    "function",
    [_no_annotations, _no_result, _no_payload, _one_more, _by_name_only, _any_number, _not_async, _generator, int],
    ids=lambda function: function.__name__,
)
def test_what_has_another_shape_is_no_job(function: Any) -> None:
    """A job is an async function of the context and one payload, with types; anything else is told so at import."""
    with pytest.raises(ConfigurationError):
        job("test.any")(function)


class Unwritable:
    """A class that is no JSON."""


@pytest.mark.parametrize(("payload", "result"), [(Unwritable, int), (int, Unwritable), ("NoSuchType", int)])
def test_a_type_that_json_cannot_hold_is_refused_at_once(payload: Any, result: Any) -> None:
    """A payload or result type that cannot travel is told at import, not when the first job has run."""
    with pytest.raises(ConfigurationError):
        define(payload, result)


@pytest.mark.parametrize("kind", ["a", "report.generate", "a.b.c", "send_mail2"])
def test_a_kind_that_may_be(kind: str) -> None:
    """Kinds are lower-case words joined by dots."""
    assert job(kind)(count.function).kind == kind


@pytest.mark.parametrize("kind", ["", "A", "a.", ".a", "a..b", "a-b", "a b", "a\n", "2a", "ä", 'a"'])
def test_a_kind_that_may_not_be(kind: str) -> None:
    """No other text names a kind, so a kind needs no quoting anywhere."""
    with pytest.raises(ConfigurationError, match="kind"):
        job(kind)(count.function)


@pytest.mark.parametrize("queue", ["", "Reports", "a:b", "health-check"])
def test_a_queue_that_may_not_be(queue: str) -> None:
    """A job's queue must have a name that can name a queue."""
    with pytest.raises(ConfigurationError, match="queue"):
        define(int, queue=queue)


@pytest.mark.parametrize(
    ("timeout", "soft"), [(0, None), (-1, None), (10, 10), (10, 11), (10, 0), (10, -1)], ids=lambda value: str(value)
)
def test_limits_that_cannot_be_met_are_refused(timeout: int, soft: int | None) -> None:
    """The soft limit lies after the start and before the hard one, and the hard one after the start."""
    limits = {"timeout": timedelta(seconds=timeout), "soft_timeout": None if soft is None else timedelta(seconds=soft)}
    with pytest.raises(ConfigurationError, match="timeout"):
        define(int, **limits)


def test_a_job_has_limits_of_its_own_only_where_it_says_so() -> None:
    """By default: the default queue, five minutes, no soft limit, no retry."""
    assert (count.queue, count.timeout, count.soft_timeout, count.retry) == (
        "default",
        timedelta(minutes=5),
        None,
        NO_RETRY,
    )


def test_a_job_is_summed_up_by_its_docstring() -> None:
    """The summary is the first line of the author's docstring, or nothing."""
    assert count.summary == "Count one up."
    assert define(int).summary == "Never called here."


async def test_a_job_is_a_plain_function_in_a_unit_test() -> None:
    """Authors call a job with a context of their own: no Redis, no registry, and what it reported can be looked at."""
    ctx = JobContext(["a", "b"])
    assert await count(ctx, Order(number=1)) == Order(number=3)
    assert isinstance(ctx.link, LocalAttempt)
    assert ctx.link.reports == [Progress(1, 2, "counted")]


def test_a_registry_is_a_mapping_by_kind() -> None:
    """A registry knows its jobs by kind, in their order."""
    other = define(int)
    registry = Registry([count, other])
    assert dict(registry) == {"order.count": count, "test.any": other}
    assert (registry.find("order.count"), registry.get("none"), len(registry)) == (count, None, 2)


def test_one_kind_is_one_job() -> None:
    """Two jobs of one kind are refused, even if they are the same."""
    with pytest.raises(ConfigurationError, match=r"order\.count"):
        Registry([count, count])


def test_an_unknown_kind_is_told() -> None:
    """``find`` raises what a client may be told."""
    with pytest.raises(UnknownKind):
        Registry([count]).find("order.none")


async def test_a_registry_opens_nothing_unless_told_to() -> None:
    """Without ``resources`` a job's ``ctx.resources`` is None."""
    assert Registry([]).open_resources is no_resources
    async with no_resources() as resources:
        assert resources is None


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: job(_nothing), r'@job\("report.generate"\)'),  # type: ignore[arg-type]
        (lambda: job("a", timeout=30)(_nothing), r"timedelta\(seconds=30\)"),  # type: ignore[arg-type]
        (lambda: job("a", soft_timeout=1.5)(_nothing), r"timedelta\(seconds=30\)"),  # type: ignore[arg-type]
        (lambda: job("a", retry=3)(_nothing), "RetryPolicy"),  # type: ignore[arg-type]
        (lambda: Registry([partial(_nothing)]), "defined with @job"),  # type: ignore[list-item]
        (lambda: Registry([_nothing]), "defined with @job"),  # type: ignore[list-item]
    ],
    ids=["bare", "timeout", "soft", "retry", "partial", "function"],
)
def test_a_wrong_definition_says_what_is_wanted(make: Callable[[], object], wanted: str) -> None:
    """What a beginner may write by mistake is an error that shows the right form."""
    with pytest.raises(ConfigurationError, match=wanted):
        make()


async def _nothing(ctx: JobContext, payload: None) -> None:
    """Do nothing."""
