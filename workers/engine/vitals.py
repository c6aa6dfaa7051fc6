"""A worker's vital signs. Other threads may read them at any time, even while a job blocks its event loop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_BLOCKED_S = 1.0
"""From this point on the log reports a blocked loop, too."""
_CLAIM_WITHIN_S = 5.0
_POLLS = 3


class Unready(StrEnum):
    """Why a worker claims no jobs."""

    STOPPING = "stopping"
    BLOCKED = "loop_blocked"
    SILENT = "no_claim"
    """No claim has succeeded for a while, although slots are free: Redis is away, or claiming has died."""
    UNHEARD = "no_heartbeat"
    """All slots are taken, so nothing is claimed, and Redis does not accept the heartbeat either."""


@dataclass(slots=True, kw_only=True)
class Vitals:
    """The values that determine a worker's readiness and its heartbeat.

    Args:
        blocked_s: How long the event loop has been blocked.
        claimed_at_s: When a claim, or a look that found nothing to claim, last succeeded, by the monotonic clock.
        stopping: Whether the worker was told to stop.
        full: Whether every slot is taken, so that there is nothing to claim for.
        poll_s: An idle worker claims at least this often.
        stall_s: A loop that is blocked for longer is considered dead.
        heard_within_s: A heartbeat must succeed at least this often.
        heard_at_s: When the last heartbeat succeeded, by the monotonic clock.
    """

    blocked_s: Callable[[], float]
    claimed_at_s: Callable[[], float]
    stopping: Callable[[], bool]
    full: Callable[[], bool]
    poll_s: float
    stall_s: float
    heard_within_s: float
    heard_at_s: float = 0.0

    def stalled(self) -> bool:
        """Return whether the event loop is considered dead: its leases expire, and only a new process helps."""
        return self.blocked_s() > self.stall_s

    def unready(self) -> Unready | None:
        """Return why no job is claimed; None while jobs are claimed as they arrive, or all slots are taken."""
        now_s = time.monotonic()
        if self.stopping():
            return Unready.STOPPING
        if self.blocked_s() > min(_BLOCKED_S, self.stall_s):
            return Unready.BLOCKED
        if self.full():
            return Unready.UNHEARD if now_s - self.heard_at_s > self.heard_within_s else None
        within_s = max(_CLAIM_WITHIN_S, _POLLS * self.poll_s)
        return Unready.SILENT if now_s - self.claimed_at_s() > within_s else None
