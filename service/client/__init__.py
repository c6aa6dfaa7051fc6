"""A client of the HTTP service, for Python code that is not beside Redis.

Read ``api`` first: ``ArqwayClient`` submits, waits, streams, cancels. ``transport`` sends requests, again where that is
safe; ``frames`` reads event streams; ``views`` has what comes back, ``errors`` what may go wrong.
"""

from arqway.service.client.api import ArqwayClient
from arqway.service.client.errors import (
    ApiError,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    ItemProblem,
    JobFailed,
    NotFound,
    RateLimited,
    Unauthorised,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from arqway.service.client.submission import BatchItem, JobOptions, RawJson, SubmitOptions
from arqway.service.client.views import AcceptedBatch, Batch, Event, Failure, Job, JobHandle, Progress

__all__ = [
    "AcceptedBatch",
    "ApiError",
    "ArqwayClient",
    "Batch",
    "BatchItem",
    "Conflict",
    "Event",
    "Failure",
    "FieldError",
    "Forbidden",
    "Invalid",
    "ItemProblem",
    "Job",
    "JobFailed",
    "JobHandle",
    "JobOptions",
    "NotFound",
    "Progress",
    "RateLimited",
    "RawJson",
    "SubmitOptions",
    "Unauthorised",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
]
