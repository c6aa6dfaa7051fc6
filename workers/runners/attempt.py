"""One attempt of a job in this process: its link to the store, its time limits, and the reason it was ended."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from arqway.workers.client.queue import JobQueue
from arqway.workers.client.submission import SubmitOptions
from arqway.workers.contract.errors import LeaseLost
from arqway.workers.contract.record import JobRecord, Progress
from arqway.workers.contract.states import EndReason, JobState
from arqway.workers.contract.values import InvalidResult
from arqway.workers.definition import JobDefinition
from arqway.workers.settings import Settings
from arqway.workers.store.attempts import Claim, ProgressWrite
from arqway.workers.store.batcher import Batcher
from arqway.workers.store.jobs import JobStore

_PROGRESS_BURST = 16
_PROGRESS_SPACING_S = 0.1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Attempt:
    """A claimed job while this process runs it. Implements ``workers.context.AttemptLink``.

    Args:
        claim: The claim that entitles this process to run the job.
        store: The store that steps are read from and written to.
        progress_writer: Writes progress reports; shared by all attempts in the process.
        settings: How long the job may take to end after its task is cancelled, and how large a step's result may be.
        overdue: Called if the job has not ended after the grace time.
        queue: Submits child jobs; shared by all attempts in the process.
    """

    reason: EndReason | None = None
    task: "asyncio.Task[Any] | None" = None
    """The task that runs the job and settles it."""
    abandoned = False
    settled_as = ""
    """The token its outcome was submitted for settlement with."""
    next_state: JobState | None = None
    """The state its outcome moves the job to, once decided."""
    arq_context: dict[Any, Any] | None = None
    """The ``ctx`` of arq functions and hooks, created on first use."""
    unwritten: Progress | None = None
    """The latest progress report not yet in the record; the settlement includes it."""
    _task: "asyncio.Task[object] | None" = None
    _near: Callable[[], None] | None = None
    _flush_timer: asyncio.TimerHandle | None = None
    _timers: tuple[asyncio.TimerHandle, ...] = ()
    _inherited: SubmitOptions | None = None
    _writes = 0
    _last_write_s = 0.0
    _deadline_s = _soft_s = 0.0

    def __init__(
        self,
        claim: Claim,
        store: JobStore,
        progress_writer: Batcher[ProgressWrite, bool],
        settings: Settings,
        overdue: "Callable[[Attempt], None]",
        queue: JobQueue,
    ) -> None:
        self.claim = claim
        self._store = store
        self._write = progress_writer
        self._settings = settings
        self._overdue = overdue
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._claimed_s = self._loop.time()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the claim."""
        return self._loop.time() - self._claimed_s

    @property
    def timed_out(self) -> bool:
        """Whether the hard limit has passed, even if the job could not be stopped."""
        return self.reason is EndReason.TIMEOUT or self._loop.time() > self._deadline_s

    @property
    def begun(self) -> bool:
        """Whether the job's function has been called or was about to be."""
        return self._deadline_s > 0

    def runs_in(self, task: "asyncio.Task[object]") -> bool:
        """Return whether the job's code runs in ``task``."""
        return self._task is task

    def begin(self, soft_s: float | None, hard_s: float, near: Callable[[], None]) -> None:
        """Start the time limits, now. From now on ``end`` cancels the task; ``near`` is called at the soft limit."""
        self._task, self._near = self.task, near
        now_s = self._loop.time()
        self._deadline_s = now_s + hard_s
        self._soft_s = now_s + soft_s if soft_s is not None else self._deadline_s
        if self.reason is not None and self._task is not None:
            self._task.cancel()  # ``end`` was called between the claim and now

    def watch(self) -> None:
        """Set the timers if the job is still running. Short jobs that end without ever yielding need none."""
        if self._task is None or self._near is None:
            return
        self._timers = (self._loop.call_at(self._deadline_s, self.end, EndReason.TIMEOUT),)
        if self._soft_s < self._deadline_s:
            self._timers += (self._loop.call_at(self._soft_s, self._near),)

    def end(self, reason: EndReason) -> None:
        """Cancel the job's task (once only), and give up on it if it has not ended after the grace time."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._task is not None:
            self._task.cancel()
            self._timers += (self._loop.call_later(self._settings.cancel_grace_s, self._overdue, self),)

    def close(self) -> None:
        """Stop all timers. From now on nothing cancels the task."""
        for timer in self._timers:
            timer.cancel()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        self._task = None

    def report(self, progress: Progress) -> None:
        """Write ``progress`` at once, or after a short delay when reports come in quick succession."""
        self.unwritten = progress
        if self._flush_timer is None:
            due_s = self._last_write_s + _PROGRESS_SPACING_S if self._writes >= _PROGRESS_BURST else 0
            self._flush_timer = self._loop.call_at(max(due_s, self._loop.time()), self._flush)

    async def read_step(self, name: str) -> bytes | None:
        """Return the stored result of a step, or None."""
        return await self._store.read_step(self.claim.id, name)

    async def keep_step(self, name: str, result_json: bytes) -> bytes | None:
        """Store the result of a step, fenced by this attempt's token. Raises InvalidResult if it is too large."""
        if len(result_json) > (most := self._settings.max_result_bytes):
            raise InvalidResult(f"the result of step {name!r} has {len(result_json):,} bytes; the limit is {most:,}")
        return await self._store.keep_step(self.claim.id, self.claim.token, name, result_json)

    async def submit(self, job: JobDefinition[Any, Any], payload: Any, options: SubmitOptions) -> JobRecord:
        """Submit another job with this one's tenant, tags and deadline. Not fenced: see ``JobContext.submit``."""
        if self.abandoned or self.reason is EndReason.LOST:
            raise LeaseLost
        if self._inherited is None:
            parent = await self._queue.read(self.claim.id)
            self._inherited = {"tenant": parent.tenant, "tags": parent.tags}
            if parent.deadline_ms is not None:
                self._inherited["deadline"] = _EPOCH + timedelta(milliseconds=parent.deadline_ms)
        together: SubmitOptions = {**self._inherited, **options}
        return await self._queue.submit(job, payload, **together)

    async def read(self, job_id: str) -> JobRecord:
        """Return the record of a job."""
        return await self._queue.read(job_id)

    def _flush(self) -> None:
        progress, self._flush_timer = self.unwritten, None
        if progress is None or self.abandoned:
            return
        self._writes += 1
        self._last_write_s = self._loop.time()
        write = self._write(ProgressWrite(self.claim.id, self.claim.token, progress.to_json()))
        write.add_done_callback(lambda done: self._flushed(done, progress))

    def _flushed(self, write: "asyncio.Future[bool]", progress: Progress) -> None:
        if write.cancelled() or write.exception() is not None:
            return  # Redis is unavailable: the report stays pending until the next report or the settlement
        if not write.result():
            self.end(EndReason.LOST)
        elif self.unwritten is progress:
            self.unwritten = None
