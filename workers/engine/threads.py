"""The threads of a worker process, in which ``asyncio.to_thread`` and ``run_in_executor(None, …)`` run blocking calls.

asyncio's own pool has as many threads as the machine has cores, and four more: jobs would wait for each other's
threads, however many slots there are. A thread cannot be cancelled, so a call may go on after its job has ended.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("arqway.workers.engine")

_SPARE = 4
"""Threads for what is no job, such as looking up addresses."""
_LOOK_S = 1.0
_STACK_FRAMES = 6


@dataclass(eq=False)
class _Call:
    """A call in a thread, and the task that asked for it."""

    task: "asyncio.Task[Any] | None" = None
    context: Context = field(default_factory=copy_context)
    thread_id: int = field(default_factory=threading.get_ident)
    started_s: float = field(default_factory=time.monotonic)
    reported: bool = False


class JobThreads(ThreadPoolExecutor):
    """A thread for each slot of the worker.

    Args:
        slots: How many jobs the process runs at a time.
    """

    def __init__(self, slots: int) -> None:
        super().__init__(slots + _SPARE, thread_name_prefix="arqway-job")
        self._calls: set[_Call] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn`` in a thread, as soon as one is free."""
        task, context = None, copy_context()
        with suppress(RuntimeError):  # not called from a task
            task = asyncio.current_task()

        def run() -> Any:
            call = _Call(task, context)
            self._calls.add(call)
            try:
                return fn(*args, **kwargs)
            finally:
                self._calls.discard(call)

        return super().submit(run)

    async def watch(self) -> None:
        """Report each call that goes on although its job has ended, with its stack, until cancelled."""
        while True:
            for call in list(self._calls):
                if call.task is not None and call.task.done() and not call.reported:
                    call.reported = True
                    frame = sys._current_frames().get(call.thread_id)
                    stack = "".join(traceback.format_stack(frame)[-_STACK_FRAMES:]) if frame else ""
                    extra = {"ran_s": round(time.monotonic() - call.started_s, 1), "stack": stack}
                    text = "A thread goes on although its job has ended; until it returns, no other job can use it"
                    call.context.run(logger.warning, text, extra=extra)
            await asyncio.sleep(_LOOK_S)

    def stopped(self, within_s: float) -> bool:
        """Start no more calls, wait for those that run, and return whether all have ended within the time."""
        self.shutdown(wait=False, cancel_futures=True)
        deadline_s = time.monotonic() + within_s
        while self._calls and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return not self._calls
