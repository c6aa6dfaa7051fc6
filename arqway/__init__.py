"""Durable background jobs for FastAPI: what an author of jobs, or an app that submits them, imports.

A name is loaded when it is first used: ``arqway --help`` loads none of them, and a module that defines jobs loads
neither Redis nor a web framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arqway.service.access.callers import Caller
    from arqway.service.arqway import Arqway
    from arqway.workers.client import JobQueue, PendingJob, SyncJobQueue, open_queue
    from arqway.workers.context import JobContext, LocalAttempt
    from arqway.workers.contract.errors import (
        ArqwayError,
        DiscardJob,
        InvalidSubmission,
        JobNotFound,
        JobTimedOut,
        RetryJob,
        StoreUnavailable,
    )
    from arqway.workers.contract.record import JobRecord
    from arqway.workers.contract.retry import RetryPolicy
    from arqway.workers.contract.states import JobState
    from arqway.workers.definition import JobDefinition, job
    from arqway.workers.registry import Registry

__all__ = [
    "Arqway",
    "ArqwayError",
    "Caller",
    "DiscardJob",
    "InvalidSubmission",
    "JobContext",
    "JobDefinition",
    "JobNotFound",
    "JobQueue",
    "JobRecord",
    "JobState",
    "JobTimedOut",
    "LocalAttempt",
    "PendingJob",
    "Registry",
    "RetryJob",
    "RetryPolicy",
    "StoreUnavailable",
    "SyncJobQueue",
    "job",
    "open_queue",
]

_MODULES = {
    "service.access.callers": ("Caller",),
    "service.arqway": ("Arqway",),
    "workers.client": ("JobQueue", "PendingJob", "SyncJobQueue", "open_queue"),
    "workers.context": ("JobContext", "LocalAttempt"),
    "workers.contract.errors": (
        "ArqwayError",
        "DiscardJob",
        "InvalidSubmission",
        "JobNotFound",
        "JobTimedOut",
        "RetryJob",
        "StoreUnavailable",
    ),
    "workers.contract.record": ("JobRecord",),
    "workers.contract.retry": ("RetryPolicy",),
    "workers.contract.states": ("JobState",),
    "workers.definition": ("JobDefinition", "job"),
    "workers.registry": ("Registry",),
}
_MODULE_OF = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value
