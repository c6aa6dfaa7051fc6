"""From what went wrong to an outcome: codes and messages that clients may see, and what only operators do."""

import traceback

from workers.contract.errors import DiscardJob, JobTimedOut, RetryJob
from workers.contract.record import Failure
from workers.contract.states import EndReason
from workers.outcome import Cancelled, Failed, Interrupted, Outcome

_DETAIL_CHARS = 1_000
_TRACEBACK_CHARS = 4_000


def ended(reason: EndReason, limit_s: float) -> Outcome:
    """Return the outcome of an attempt that was told to end."""
    match reason:
        case EndReason.TIMEOUT:
            message = f"The job did not finish within its time limit of {limit_s:g} s."
            return Failed(Failure("timeout", message), JobTimedOut(message))
        case EndReason.CANCEL:
            return Cancelled()
        case EndReason.INTERRUPT | EndReason.LOST:  # what a lost attempt settles is fenced off by its token
            return Interrupted()


def refused(code: str, message: str, detail: str | None = None) -> Failed:
    """Return the failure of a job that no further attempt can mend."""
    return Failed(Failure(code, message, detail=detail), DiscardJob(code, message))


def raised(error: BaseException) -> Failed:
    """Return the outcome of a job that raised ``error`` by itself."""
    if isinstance(error, DiscardJob):
        return Failed(Failure(clean(error.code), clean(error.message)), error)
    if isinstance(error, RetryJob) and error.code is not None:
        detail = None if error.__cause__ is None else text_of(error.__cause__)
        return Failed(Failure(clean(error.code), text_of(error), detail=detail), error)
    if isinstance(error, RetryJob):
        return Failed(Failure("retry_asked", "The job asked to be tried again.", detail=text_of(error)), error)
    kind = type(error)
    return Failed(
        Failure(
            "exception",
            "The job ended with an unexpected error.",
            error=f"{kind.__module__}.{kind.__qualname__}",
            detail=text_of(error),
            traceback=clean("".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]),
        ),
        error,
    )


def text_of(error: BaseException) -> str:
    """Return the text of an exception, bounded, whatever its author's ``__str__`` does."""
    try:
        return clean(str(error)[:_DETAIL_CHARS])
    except Exception:  # an exception's __str__ is its author's code
        return "(no text: its __str__ failed)"


def clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 answer can carry."""
    return text.encode(errors="replace").decode()
