"""A client of the HTTP service, for Python code that cannot or should not reach Redis.

Read ``api`` first: ``ArqwayClient`` submits, waits, streams, cancels. ``transport`` sends requests, again where that is
safe; ``streams`` reads event streams; ``views`` has jobs and events, ``service.shapes`` the other return values,
``errors`` what may go wrong.
"""

from arqway.service.client.api import ArqwayClient
from arqway.service.client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorised,
    Unavailable,
    UnexpectedAnswer,
)
from arqway.service.client.options import HttpSubmitOptions, NewJob, RawJson
from arqway.service.client.views import Event, Job, JobHandle, SubmittedBatch
from arqway.service.shapes.batches import BatchView
from arqway.service.shapes.operations import DeadGroupView, QueueView, RedriveView, WorkerView
from arqway.service.shapes.problems import FieldError, ItemProblem
from arqway.workers.contract.errors import JobFailed, WaitTimeout
from arqway.workers.contract.record import Failure, Progress
from arqway.workers.definition import JobOptions

__all__ = [
    "ApiError",
    "ArqwayClient",
    "BatchView",
    "Conflict",
    "DeadGroupView",
    "Event",
    "Failure",
    "FieldError",
    "Forbidden",
    "HttpSubmitOptions",
    "Invalid",
    "ItemProblem",
    "Job",
    "JobFailed",
    "JobHandle",
    "JobOptions",
    "NewJob",
    "NotFound",
    "Progress",
    "QueueView",
    "RawJson",
    "RedriveView",
    "SubmittedBatch",
    "TooManyRequests",
    "Unauthorised",
    "Unavailable",
    "UnexpectedAnswer",
    "WaitTimeout",
    "WorkerView",
]
