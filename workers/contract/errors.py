"""All errors a caller may encounter. The docstring of an ``ArqwayError`` is its default message.

::

    ArqwayError
    ├── InvalidSubmission          the caller can correct it
    │   ├── UnknownKind
    │   ├── InvalidPayload         .errors: pydantic's error list, without input values
    │   ├── DuplicateJob           an accepted job has this id
    │   ├── NotUnique              .job_id: the job that holds the unique key
    │   ├── QueueNotAllowed
    │   ├── CallbacksOff
    │   └── BatchRefused           .errors: for each item the reason it was refused, or None
    ├── QueueFull                  .retry_after_s: the queue's backlog is too large or too old
    ├── InvalidCursor
    ├── IdempotencyMismatch        the key was used before for a different request
    ├── IdempotencyHeld            .retry_after_s: the key's first request has not been answered yet
    ├── JobNotFound
    ├── BatchNotFound
    ├── JobFinished                the job has ended, so it can no longer be changed
    ├── JobNotFinished             the job has not ended, so it cannot be retried yet
    ├── JobRetried                 .job_id: the job it was retried as
    ├── JobChanged                 the job has changed since the caller read it
    ├── JobFailed                  .message, .code, .job: the job has no result. Raised by the HTTP client, and by stock
    │                              arq clients, which leave .job None
    ├── WaitTimeout                .job_id: the job did not end within the caller's timeout
    ├── StoreUnavailable           Redis did not answer; try again later
    ├── ConfigurationError         invalid configuration, detected at startup
    └── LeaseLost                  another worker owns this job now; raised only inside a job

    RetryJob, DiscardJob           raised inside a job to control retries
    JobTimedOut                    a TimeoutError; passed to the retry policy when the hard time limit has passed
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any


class ArqwayError(Exception):
    """Something went wrong in Arqway."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class InvalidSubmission(ArqwayError):  # noqa: N818 - named as facts, as in the contract's documentation
    """The job cannot be accepted as it was submitted."""


class UnknownKind(InvalidSubmission):
    """No job of this kind is registered."""


class InvalidPayload(InvalidSubmission):
    """The payload does not fit the job's payload model."""

    def __init__(self, message: str | None = None, errors: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class DuplicateJob(InvalidSubmission):
    """A job with this id has been accepted already."""


class NotUnique(InvalidSubmission):
    """An unfinished job of this kind has this unique key."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class QueueNotAllowed(InvalidSubmission):
    """Jobs of this kind do not go to this queue."""


class CallbacksOff(InvalidSubmission):
    """No webhook secret is set, so callbacks cannot be signed."""


class BatchRefused(InvalidSubmission):
    """The batch cannot be accepted."""

    def __init__(self, message: str | None = None, errors: Sequence[ArqwayError | None] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class QueueFull(ArqwayError):  # noqa: N818
    """Too many jobs are waiting in the queue, or they have waited too long."""

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class InvalidCursor(ArqwayError):  # noqa: N818
    """The cursor was not issued by this list."""


class IdempotencyMismatch(ArqwayError):  # noqa: N818
    """This idempotency key was used before for a different request."""


class IdempotencyHeld(ArqwayError):  # noqa: N818
    """The first request with this idempotency key has not been answered yet."""

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JobNotFound(ArqwayError):  # noqa: N818
    """There is no job with this id; it may have been deleted after its retention time."""


class BatchNotFound(ArqwayError):  # noqa: N818
    """There is no batch with this id; it may have been deleted after its retention time."""


class JobFinished(ArqwayError):  # noqa: N818
    """The job has finished already."""


class JobNotFinished(ArqwayError):  # noqa: N818
    """The job has not finished yet."""


class JobRetried(ArqwayError):  # noqa: N818
    """The job has been retried already."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobChanged(ArqwayError):  # noqa: N818
    """The job has changed since it was read."""


class JobFailed(ArqwayError):  # noqa: N818
    """The job failed or was cancelled, so it has no result."""

    def __init__(self, message: str | None = None, *, code: str = "", job: Any = None) -> None:
        super().__init__(f"{message} ({code})" if code else message)
        self.message = str(self) if message is None else message
        self.code = code
        self.job = job


class WaitTimeout(ArqwayError):  # noqa: N818
    """The job did not finish in time."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class StoreUnavailable(ArqwayError):  # noqa: N818
    """The job store is not responding at the moment."""


class ConfigurationError(ArqwayError):
    """The configuration cannot work."""


class LeaseLost(ArqwayError):  # noqa: N818
    """This attempt no longer owns its job."""


class RetryJob(Exception):  # noqa: N818 - an instruction, not an error
    """Request another attempt, after ``after`` or the policy's own delay. The current attempt counts.

    Args:
        message: For operators only, unless a ``code`` is given.
        after: Delay before the next attempt.
        code: Stable and machine-readable. Shown to clients together with ``message``, which then must hold no secret.
    """

    def __init__(
        self,
        message: str = "The job asked to be tried again.",
        *,
        after: timedelta | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.after = after
        self.code = code


class DiscardJob(Exception):  # noqa: N818 - an instruction, not an error
    """Fail the job permanently, however many attempts are left.

    Args:
        code: Stable and machine-readable, e.g. ``unknown_customer``; shown to clients.
        message: Shown to clients, so it must not contain a secret.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class JobTimedOut(TimeoutError):  # noqa: N818
    """The job did not finish within its time limit."""
