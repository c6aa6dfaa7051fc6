"""Job definitions: a coroutine function with a kind, a payload type, a result type and limits."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from arqway.workers.contract import keys
from arqway.workers.contract.errors import ConfigurationError, InvalidPayload
from arqway.workers.contract.retry import NO_RETRY, RetryPolicy
from arqway.workers.contract.values import InvalidResult, difference, listed

if TYPE_CHECKING:
    from arqway.workers.context import JobContext

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")
JobFunction = Callable[["JobContext[Any]", PayloadT], Coroutine[Any, Any, ResultT]]

_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_CANNOT_FIT = "The payload does not fit the job's payload model."


_EXACT = (int, str, bool, type(None))
"""Types whose every value reads back from JSON as the same."""
_SHAPE = ("ctx", "payload")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class JobOptions(TypedDict, total=False):
    """Options of a submission. Each may be omitted or None."""

    delay: timedelta | None
    """Start no sooner than this long from now."""
    run_at: datetime | None
    """Start no sooner than this moment, which needs a time zone; not with ``delay``."""
    queue: str | None
    """One of the queues that the job's definition allows; the first by default."""
    tags: Sequence[str] | None
    """Up to 8 words to find the job by."""
    unique_key: str | None
    """Refused with ``NotUnique`` while an unfinished job of this kind and tenant has the same key."""
    deadline: datetime | None
    """No attempt starts or continues after this moment, which needs a time zone."""
    callback_url: str | None
    """The URL to notify when the job ends: ``docs/webhooks.md``."""


@dataclass(frozen=True, kw_only=True)
class Runnable(ABC):
    """What a worker needs of a job, however it was defined.

    Args:
        kind: The job's stable name.
        timeout: The hard limit of one attempt.
        soft_timeout: Time into an attempt at which ``ctx.deadline_near`` is set.
        retry: When failed attempts are retried.
        keep_result_ms: How long stock arq clients can read the result; None: the worker's setting, -1: forever.
        keep_lease_ms: How long stock arq still regards the id as running after the job has ended.
    """

    kind: str
    timeout: timedelta
    soft_timeout: timedelta | None = None
    retry: RetryPolicy
    keep_result_ms: int | None = None
    keep_lease_ms: int = 0

    @abstractmethod
    def read_envelope(self, envelope: bytes) -> Any:
        """Return the validated payload. Raises InvalidPayload."""

    @abstractmethod
    def write_result(self, result: Any) -> bytes:
        """Return the result as JSON. Raises InvalidResult."""

    @abstractmethod
    def __call__(self, ctx: "JobContext[Any]", payload: Any) -> Coroutine[Any, Any, Any]:
        """Run the job."""


@dataclass(frozen=True, kw_only=True)
class JobDefinition(Runnable, Generic[PayloadT, ResultT]):
    """A job defined with ``@job``. Calling it runs the plain function, for example in a unit test."""

    function: JobFunction[PayloadT, ResultT]
    queue: str
    other_queues: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ConfigurationError(f"{self.kind!r} is no kind: lower-case words joined by dots, e.g. report.generate")
        for name in (self.queue, *self.other_queues):
            if not keys.is_queue_name(name) or (name == keys.WEBHOOK_QUEUE and self.kind != keys.WEBHOOK_KIND):
                raise ConfigurationError(f"{name!r} cannot name a queue of jobs")
        for name, limit in (("timeout", self.timeout), ("soft_timeout", self.soft_timeout or self.timeout)):
            if not isinstance(limit, timedelta):
                raise ConfigurationError(f"{self.kind}: {name}={limit!r} should be like timedelta(seconds=30)")
        if not isinstance(self.retry, RetryPolicy):
            raise ConfigurationError(f"{self.kind}: retry is a RetryPolicy, not {self.retry!r}")
        soft = self.timeout / 2 if self.soft_timeout is None else self.soft_timeout
        if not timedelta(0) < soft < self.timeout:
            raise ConfigurationError(f"{self.kind}: 0 < soft_timeout < timeout")

    def __call__(self, ctx: "JobContext[Any]", payload: PayloadT) -> Coroutine[Any, Any, ResultT]:
        """Run the job's function directly."""
        return self.function(ctx, payload)

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def payload_type(self) -> Any:
        """The annotation of the second parameter."""
        return _annotations(self.function)[0]

    @cached_property
    def result_type(self) -> Any:
        """The return annotation."""
        return _annotations(self.function)[1]

    @cached_property
    def payload(self) -> TypeAdapter[PayloadT]:
        """Validates and serializes payloads. Hot paths call its core directly: the methods cost more than the core."""
        return TypeAdapter(self.payload_type)

    @cached_property
    def result(self) -> TypeAdapter[ResultT]:
        """Validates and serializes results."""
        return TypeAdapter(self.result_type)

    @cached_property
    def _own_envelope(self) -> TypeAdapter[Any]:
        only_arguments: Any = GenericAlias(tuple, (self.payload_type,))
        return TypeAdapter(TypedDict("Envelope", {"a": only_arguments}))  # type: ignore[operator]

    def read_payload(self, payload_json: bytes) -> PayloadT:
        """Validate a payload's JSON. Raises InvalidPayload."""
        try:
            return cast(PayloadT, self.payload.validator.validate_json(payload_json))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            raise InvalidPayload(_CANNOT_FIT, problems) from error
        except Exception as error:  # an author's own validators may raise anything
            raise InvalidPayload(_CANNOT_FIT) from error

    def read_envelope(self, envelope: bytes) -> PayloadT:
        """Validate the payload in an envelope: its first argument or, from a stock producer, its keyword arguments.

        Raises InvalidPayload, also for anything other than JSON. Nothing is ever unpickled.
        """
        try:
            return cast(PayloadT, self._own_envelope.validate_json(envelope)["a"][0])  # one pass for the usual form
        except Exception:  # the slow path below also reports what is wrong
            try:
                fields = from_json(envelope, allow_inf_nan=False)
                payload_json = to_json(fields["a"][0] if fields["a"] else fields["k"])
            except (ValueError, KeyError, TypeError, IndexError, RecursionError):
                raise InvalidPayload("The job's envelope is not the JSON that arq's fields make.") from None
            return self.read_payload(payload_json)

    def write_payload(self, payload: PayloadT) -> bytes:
        """Return the payload as JSON. Raises InvalidPayload if it would not read back as the same value."""
        try:
            value = self.payload.serializer.to_json(payload, by_alias=True, round_trip=True, warnings="error")
        except Exception as error:
            raise InvalidPayload("The payload cannot be written as JSON.") from error
        if (place := difference(payload, self.read_payload(value))) is not None:
            raise InvalidPayload(f"The payload{place} would not arrive as it was given: JSON does not keep its value.")
        return value

    def write_envelope(self, payload_json: bytes, now_ms: int) -> bytes:
        """Return the envelope for ``arq:job:{id}`` around an already validated payload."""
        return b'{"t":null,"f":"%b","a":[%b],"k":{},"et":%d}' % (self.kind.encode(), payload_json, now_ms)

    def write_result(self, result: ResultT) -> bytes:
        """Return the result as JSON. Raises InvalidResult if it is of another type, or would not read back the same."""
        try:
            checked = self.result.validator.validate_python(result)
            value = self.result.serializer.to_json(checked, by_alias=True, warnings="error")
            if self.result_type in _EXACT:
                return value
            try:
                given = listed(checked) if self.result_type is Any else checked
                place = difference(given, self.result.validator.validate_json(value))
            except ValidationError:  # computed fields are not to be read
                as_read = self.result.serializer.to_json(checked, by_alias=True, round_trip=True)
                place = difference(checked, self.result.validator.validate_json(as_read))
        except Exception as error:
            raise InvalidResult from error
        if place is not None:
            raise InvalidResult(f"the result{place} would not read back as it was given: JSON does not keep its value")
        return value


def _annotations(function: Callable[..., Any]) -> tuple[Any, Any]:
    parameters = list(inspect.signature(function).parameters.values())
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(f"{function.__qualname__}: {error}") from error
    positional = all(parameter.kind in _POSITIONAL for parameter in parameters)
    if len(parameters) != len(_SHAPE) or not positional or not {parameters[1].name, "return"} <= set(hints):
        raise ConfigurationError(f"{function.__qualname__}: a job is `async def job(ctx, payload: Payload) -> Result`")
    return hints[parameters[1].name], hints["return"]


def job(
    kind: str,
    *,
    queue: str = keys.DEFAULT_QUEUE,
    other_queues: Sequence[str] = (),
    timeout: timedelta = timedelta(minutes=5),
    soft_timeout: timedelta | None = None,
    retry: RetryPolicy = NO_RETRY,
) -> Callable[[JobFunction[PayloadT, ResultT]], JobDefinition[PayloadT, ResultT]]:
    """Turn ``async def function(ctx, payload: Payload) -> Result`` into a job.

    Args:
        kind: The job's stable name: lower-case words joined by dots. Clients and stored jobs refer to it.
        queue: The queue its jobs wait in; a worker serves it if ``ARQWAY_QUEUES`` names it.
        other_queues: Other queues that a submission may choose.
        timeout: Hard limit of one attempt, which then fails with code ``timeout``.
        soft_timeout: Time after which ``ctx.deadline_near`` is set so that the job can clean up; by default never.
        retry: When failed attempts are retried; by default never.

    Raises:
        ConfigurationError: The function has a different signature, or a name is invalid.
    """
    if not isinstance(kind, str):
        raise ConfigurationError('@job needs the kind of the job: @job("report.generate")')

    def define(function: JobFunction[PayloadT, ResultT]) -> JobDefinition[PayloadT, ResultT]:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"{getattr(function, '__qualname__', function)} is not an async function")
        definition = JobDefinition(
            kind=kind,
            function=function,
            queue=queue,
            other_queues=tuple(other_queues),
            timeout=timeout,
            soft_timeout=soft_timeout,
            retry=retry,
        )
        try:
            _ = definition.payload, definition.result
        except (PydanticUserError, NameError) as error:
            raise ConfigurationError(f"{kind}: the payload or result type cannot be JSON: {error}") from error
        return definition

    return define
