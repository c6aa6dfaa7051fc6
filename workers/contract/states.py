"""The states of a job, and the only list of legal moves between them.

``TRANSITIONS`` is handed to every Lua script, so Redis itself refuses a move that is not here.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Where a job is in its life. The ``state`` field of the record is the truth; nothing is inferred from keys."""

    SCHEDULED = "scheduled"
    """Waits for its due time. The claim moves it on once it is due."""
    QUEUED = "queued"
    """Waits for a free slot. The claim moves it on."""
    RUNNING = "running"
    """A worker holds its lease. The settling of the attempt moves it on; a claim after the lease's end is a rescue."""
    RETRYING = "retrying"
    """An attempt failed and another is due later. The claim moves it on once it is due."""
    SUCCEEDED = "succeeded"
    """Final: the result is in the record."""
    FAILED = "failed"
    """Final: nothing will run again; the failure is in the record."""
    CANCELLED = "cancelled"
    """Final: a person asked for it."""


_S = JobState

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        _S.SCHEDULED: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.QUEUED: frozenset({_S.RUNNING, _S.CANCELLED}),
        # running -> running is a rescue; running -> queued is an interrupt (our shutdown) or a parked unknown kind.
        _S.RUNNING: frozenset({_S.RUNNING, _S.QUEUED, _S.RETRYING, _S.SUCCEEDED, _S.FAILED, _S.CANCELLED}),
        _S.RETRYING: frozenset({_S.RUNNING, _S.CANCELLED}),
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)

TERMINAL_STATES = frozenset(state for state, moves in TRANSITIONS.items() if not moves)


def may_move(before: JobState, after: JobState) -> bool:
    """Tell whether a record in state ``before`` may be written with state ``after``."""
    return after in TRANSITIONS[before]


class EndReason(Enum):
    """Why a running attempt was told to end."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    LOST = "lost"
