"""Watching a worker's event loop from another thread: whether it runs, and where it hangs if it does not."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Mapping

from arqway.workers.runners.attempt import Attempt

logger = logging.getLogger("arqway.workers.engine")

_TURN_S = 0.25
_LOOK_S = 0.5
_BLOCKED_S = 1.0
_STACK_FRAMES = 6


class LoopWatch:
    """Watches the event loop on which it is created, and reports a blocked loop with the stack that it hangs in.

    Args:
        running: The attempts that run on the loop; read from the watching thread.
    """

    def __init__(self, running: Mapping[str, Attempt]) -> None:
        self._running = running
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._reported = False
        self._turn()

    @property
    def blocked_s(self) -> float:
        """Time since the loop last turned, beyond the usual interval.

        Safe to read from any thread, like everything in this class.
        """
        return max(0.0, time.monotonic() - self._turned_at_s - _TURN_S)

    async def run(self) -> None:
        """Report each time that the loop is blocked. Runs on the watching thread's own loop."""
        while True:
            blocked_s = self.blocked_s
            if blocked_s < _BLOCKED_S:
                self._reported = False
            elif not self._reported:
                self._reported = True
                self._report(blocked_s)
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Stop watching the loop."""
        self._timer.cancel()

    def _turn(self) -> None:
        self._turned_at_s = time.monotonic()
        self._timer = self._loop.call_later(_TURN_S, self._turn)

    def _report(self, blocked_s: float) -> None:
        task = asyncio.current_task(self._loop)
        attempt = next((a for a in list(self._running.values()) if task is not None and a.runs_in(task)), None)
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)[-_STACK_FRAMES:]) if frame else ""
        names = {"job_id": attempt.claim.id, "kind": attempt.claim.kind} if attempt else {}
        extra = {**names, "blocked_s": round(blocked_s, 1), "stack": stack}
        logger.warning("The event loop is blocked; no other job of this worker can go on", extra=extra)
