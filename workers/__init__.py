"""The face for job authors: define a job, steer its retries, list it in a registry, submit it from Python."""

from workers.context import JobContext, LocalAttempt
from workers.contract.errors import DiscardJob, RetryJob
from workers.contract.record import JobRecord
from workers.contract.retry import RetryPolicy
from workers.contract.states import JobState
from workers.definition import JobDefinition, Registry, job

__all__ = [
    "DiscardJob",
    "JobContext",
    "JobDefinition",
    "JobRecord",
    "JobState",
    "LocalAttempt",
    "Registry",
    "RetryJob",
    "RetryPolicy",
    "job",
]
