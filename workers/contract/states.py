"""The states of a job and the single table of legal transitions between them.

``TRANSITIONS`` is passed to every Lua script, so Redis itself refuses any other transition.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """A state in a job's life cycle. The record's ``state`` field is authoritative; nothing is inferred from keys."""

    SCHEDULED = "scheduled"
    """Waiting for its due time. A claim moves it on once it is due."""
    QUEUED = "queued"
    """Waiting for a free slot. A claim moves it on."""
    RUNNING = "running"
    """A worker holds its lease. Settling the attempt moves it on; a claim after the lease has expired is a rescue."""
    RETRYING = "retrying"
    """An attempt failed and another is due later. A claim moves it on once it is due."""
    SUCCEEDED = "succeeded"
    """Final: the result is in the record."""
    FAILED = "failed"
    """Final: the job will not run again; the failure is in the record."""
    CANCELLED = "cancelled"
    """Final: a person cancelled the job."""


_S = JobState

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _S.SCHEDULED: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.QUEUED: frozenset({_S.RUNNING, _S.CANCELLED}),
        # running -> running is a rescue; running -> queued is an interrupt (a shutdown) or a parked unknown kind.
        _S.RUNNING: frozenset({_S.RUNNING, _S.QUEUED, _S.RETRYING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        _S.RETRYING: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)

TERMINAL_STATES = frozenset(state for state, moves in TRANSITIONS.items() if not moves)


class EndReason(Enum):
    """Why a running attempt was ended early."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    LOST = "lost"
