"""What a job is: a coroutine function with a kind, a payload type, a result type and its limits."""

import inspect
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from arqway.workers.contract import keys
from arqway.workers.contract.errors import ConfigurationError, InvalidPayload
from arqway.workers.contract.retry import NO_RETRY, RetryPolicy

if TYPE_CHECKING:
    from arqway.workers.context import JobContext

PayloadT = TypeVar("PayloadT")
ResultT = TypeVar("ResultT")
JobFunction = Callable[["JobContext[Any]", PayloadT], Coroutine[Any, Any, ResultT]]

_KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_CANNOT_FIT = "The payload does not fit the job's payload model."


_SHAPE = ("ctx", "payload")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class JobOptions(TypedDict, total=False):
    """How a job is to be run. Each option may be left out or None."""

    delay: timedelta | None
    """Start no sooner than this from now."""
    run_at: datetime | None
    """Start no sooner than this moment; needs a time zone; not with ``delay``."""
    queue: str | None
    """One of the queues that the job's definition allows; the first of them by default."""
    tags: Sequence[str] | None
    """Up to 8 words to find the job by."""
    unique_key: str | None
    """The job is refused while another one of its kind and tenant has the same key and is not final."""
    deadline: datetime | None
    """No attempt begins or goes on after this moment; needs a time zone."""
    callback_url: str | None
    """Is told of the job's end: ``docs/webhooks.md``."""


class InvalidResult(Exception):  # noqa: N818
    """The job returned something that its result type cannot write as JSON."""


class Runnable(Protocol):
    """What a worker needs of a job, whoever defined it."""

    @property
    def kind(self) -> str:
        """The job's stable name."""

    @property
    def timeout(self) -> timedelta:
        """The hard limit of one attempt."""

    @property
    def soft_timeout(self) -> timedelta | None:
        """When the job is told that its time runs out."""

    @property
    def retry(self) -> RetryPolicy:
        """What follows a failed attempt."""

    @property
    def keep_result_ms(self) -> int | None:
        """How long stock arq clients can read the result; None: as the worker says, -1: for ever."""

    @property
    def keep_lease_ms(self) -> int:
        """How long its id counts as running for stock arq after its end."""

    def read_envelope(self, envelope: bytes) -> Any:
        """Return the payload. Raises InvalidPayload."""

    def write_result(self, result: Any) -> bytes:
        """Return the result as JSON. Raises InvalidResult."""

    def __call__(self, ctx: "JobContext[Any]", payload: Any) -> Coroutine[Any, Any, Any]:
        """Run the job."""


@dataclass(frozen=True, kw_only=True)
class JobDefinition(Generic[PayloadT, ResultT]):
    """A job as its author defined it with ``@job``. Calling it runs the plain function, as in a unit test."""

    kind: str
    function: JobFunction[PayloadT, ResultT]
    queue: str
    timeout: timedelta
    soft_timeout: timedelta | None
    retry: RetryPolicy
    other_queues: tuple[str, ...] = ()
    keep_result_ms: int | None = None
    keep_lease_ms: int = 0

    def __post_init__(self) -> None:
        if not _KIND.fullmatch(self.kind):
            raise ConfigurationError(f"{self.kind!r} is no kind: lower-case words joined by dots, e.g. report.generate")
        for name in (self.queue, *self.other_queues):
            if not keys.is_queue_name(name) or (name == keys.WEBHOOK_QUEUE and self.kind != keys.WEBHOOK_KIND):
                raise ConfigurationError(f"{name!r} cannot name a queue of jobs")
        soft = self.timeout / 2 if self.soft_timeout is None else self.soft_timeout
        if not timedelta(0) < soft < self.timeout:
            raise ConfigurationError(f"{self.kind}: 0 < soft_timeout < timeout")

    def __call__(self, ctx: "JobContext[Any]", payload: PayloadT) -> Coroutine[Any, Any, ResultT]:
        """Run the job's function here and now."""
        return self.function(ctx, payload)

    @property
    def summary(self) -> str:
        """The first line of the author's docstring."""
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
        """Validates and writes payloads. Its core is called past its methods, which cost more than the call itself."""
        return TypeAdapter(self.payload_type)

    @cached_property
    def result(self) -> TypeAdapter[ResultT]:
        """Validates and writes results."""
        return TypeAdapter(self.result_type)

    @cached_property
    def _own_envelope(self) -> TypeAdapter[Any]:
        only_arguments: Any = GenericAlias(tuple, (self.payload_type,))
        return TypeAdapter(TypedDict("Envelope", {"a": only_arguments}))  # type: ignore[operator]

    def read_payload(self, payload_json: bytes) -> PayloadT:
        """Validate a payload's JSON. Raises InvalidPayload."""
        try:
            return cast(PayloadT, self.payload.validator.validate_json(payload_json))
        except Exception as error:
            raise _misfit(error) from error

    def read_envelope(self, envelope: bytes) -> PayloadT:
        """Validate the payload inside an envelope: its first argument or, from a stock producer, its keywords.

        Raises InvalidPayload, also for anything that is not JSON. Nothing is ever unpickled.
        """
        try:
            return cast(PayloadT, self._own_envelope.validate_json(envelope)["a"][0])  # one pass over the usual form
        except Exception:  # told again, and better, by the slower way
            return self.read_payload(_payload_in(envelope))

    def write_payload(self, payload: PayloadT) -> bytes:
        """Return the payload as JSON. Raises InvalidPayload for what the payload type would not read back."""
        try:
            value = self.payload.serializer.to_json(payload, by_alias=True, round_trip=True, warnings="error")
        except Exception as error:
            raise InvalidPayload("The payload cannot be written as JSON.") from error
        self.read_payload(value)
        return value

    def write_envelope(self, payload_json: bytes, now_ms: int) -> bytes:
        """Return the envelope for ``arq:job:{id}`` around a payload that was validated."""
        return b'{"t":null,"f":"%b","a":[%b],"k":{},"et":%d}' % (self.kind.encode(), payload_json, now_ms)

    def write_result(self, result: ResultT) -> bytes:
        """Return the result as JSON. Raises InvalidResult for what the result type does not allow."""
        try:
            checked = self.result.validator.validate_python(result)
            return self.result.serializer.to_json(checked, by_alias=True, warnings="error")
        except Exception as error:
            raise InvalidResult from error


def _misfit(error: Exception) -> InvalidPayload:
    """Say what does not fit, without the input's values; an author's own check may have raised anything."""
    if not isinstance(error, ValidationError):
        return InvalidPayload(_CANNOT_FIT)
    return InvalidPayload(_CANNOT_FIT, error.errors(include_url=False, include_input=False, include_context=False))


def _payload_in(envelope: bytes) -> bytes:
    try:
        fields = from_json(envelope, allow_inf_nan=False)
        return to_json(fields["a"][0] if fields["a"] else fields["k"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise InvalidPayload("The job's envelope is not the JSON that arq's fields make.") from None


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
    """Make ``async def function(ctx, payload: Payload) -> Result`` a job.

    Args:
        kind: The job's stable name, in lower-case words joined by dots. Clients and stored jobs refer to it.
        queue: Where its jobs wait; a worker serves it if ``ARQWAY_QUEUES`` names it.
        other_queues: Where else a submission may ask to put it.
        timeout: One attempt is ended after this long, and fails with code ``timeout``.
        soft_timeout: After this long ``ctx.deadline_near`` is set, so that the job may clean up.
        retry: What follows a failed attempt; by default nothing.

    Raises:
        ConfigurationError: The function has another shape, or a name cannot be used.
    """

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
