"""Submit a job when a SQLAlchemy transaction commits, and never if it rolls back.

SQLAlchemy is imported only when a session is passed in; it is not a dependency of this package.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal

from arqway.workers.background import Backoff, end
from arqway.workers.client.submission import Accepted
from arqway.workers.contract.errors import DuplicateJob, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.store.jobs import Submission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, SessionTransaction, scoped_session

    SqlSession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]
else:
    SqlSession = Any

logger = logging.getLogger("arqway.workers.client")

_PATIENCE_S = 30.0
"""How long to keep trying to submit a committed job while Redis is away."""
_CLOSE_S = 5.0
"""How long closing a client waits for submissions in flight."""
_KEY = "arqway.after_commit"


@dataclass(eq=False, slots=True)
class PendingJob:
    """A job that will be submitted once its transaction commits. Until then it exists only in this process.

    ``state`` moves from ``waiting`` (for the commit) either to ``dropped`` (rolled back, never sent), or through
    ``sending`` to ``accepted`` or ``lost`` (committed, but the job was not accepted; ``error`` says why).
    """

    id: str
    """The id the job will have. ``JobQueue.read`` does not find it until the job is accepted."""
    kind: str
    queue: str
    tenant: str
    state: Literal["waiting", "dropped", "sending", "accepted", "lost"] = "waiting"
    record: JobRecord | None = None
    """The job as it was accepted; None in every other state."""
    error: Exception | None = None
    """Why the job was lost."""


@dataclass(slots=True)
class _Held:
    """A job to send when its transaction commits; ``savepoint`` is the innermost one still open around it, if any."""

    savepoint: "SessionTransaction | None"
    pending: PendingJob
    send: Callable[[], None]


class _Transactions:
    """The jobs waiting for one session's transactions. Lives in ``session.info`` and dies with the session."""

    def __init__(self, session: "Session") -> None:
        from sqlalchemy import event

        self.held: list[_Held] = []
        # Inserted first, since an error in another listener would keep ours from being called.
        event.listen(session, "after_commit", self.committed, insert=True)
        event.listen(session, "after_transaction_end", self.ended, insert=True)

    def committed(self, session: "Session") -> None:
        """Send the held jobs or, when a savepoint is released, hold its jobs for the enclosing transaction."""
        savepoint = session.get_nested_transaction()
        if savepoint is None:
            held, self.held = self.held, []
            for one in held:
                one.send()
            return
        outer = savepoint.parent
        while outer is not None and not outer.nested:
            outer = outer.parent
        for one in self.held:
            if one.savepoint is savepoint:
                one.savepoint = outer

    def ended(self, _: "Session", transaction: "SessionTransaction") -> None:
        """Drop the jobs still held for a transaction that has ended: it was not committed."""
        if transaction.parent is not None and not transaction.nested:
            return  # a flush's own subtransaction
        for one in self.held:
            if transaction.parent is None or one.savepoint is transaction:
                one.pending.state = "dropped"
        self.held = [one for one in self.held if one.pending.state == "waiting"]


def sync_session(session: SqlSession) -> "Session":
    """Return the ``Session`` behind an ``AsyncSession`` or a scoped session (the current thread's or task's).

    Raises:
        TypeError: ``session`` is not a SQLAlchemy session.
    """
    from sqlalchemy.orm import Session

    found: Any = session.registry() if hasattr(session, "registry") else session
    found = getattr(found, "sync_session", found)
    if not isinstance(found, Session):
        raise TypeError(f"after_commit takes a session of SQLAlchemy, not a {type(session).__name__}")
    return found


class CommitSender:
    """Sends jobs whose transactions have committed, in the background on the client's event loop.

    Args:
        accept: Submits one job.
        read: Returns a job's record.
    """

    def __init__(
        self, accept: Callable[[Submission], Awaitable[Accepted]], read: Callable[[str], Awaitable[JobRecord]]
    ) -> None:
        self._accept = accept
        self._read = read
        self._sending: set[asyncio.Task[None]] = set()
        self._closed = False

    def hold(self, submission: Submission, session: SqlSession) -> PendingJob:
        """Send ``submission`` when the session's outermost transaction commits: the open one or, if none is, the next.

        A rollback drops it, including a rollback to the savepoint in which it was held.
        """
        pending = PendingJob(submission.id, submission.kind, submission.queue, submission.tenant)
        found, here = sync_session(session), (asyncio.get_running_loop(), get_ident())
        if _KEY not in found.info:
            found.info[_KEY] = _Transactions(found)
        held = _Held(found.get_nested_transaction(), pending, lambda: self._committed(submission, pending, *here))
        found.info[_KEY].held.append(held)
        return pending

    async def flush(self, *, timeout_s: float) -> bool:
        """Wait until jobs of committed transactions are accepted or lost; return whether all of them are."""
        await asyncio.sleep(0)  # lets jobs committed in other threads join
        if not self._sending:
            return True
        _, late = await asyncio.wait(set(self._sending), timeout=timeout_s)
        return not late

    async def close(self) -> None:
        """Wait up to 5 s for submissions in flight, then give up on the rest."""
        await self.flush(timeout_s=_CLOSE_S)
        self._closed = True
        await end(self._sending)

    def _committed(
        self, submission: Submission, pending: PendingJob, loop: asyncio.AbstractEventLoop, thread: int
    ) -> None:
        """Start sending. SQLAlchemy calls this from any thread; an error raised here would look like the commit's."""
        pending.state = "sending"
        if self._closed or loop.is_closed():
            _lose(pending, RuntimeError("The client was closed before the transaction was committed."))
        elif get_ident() == thread:
            self._begin(submission, pending, loop)
        else:
            try:
                loop.call_soon_threadsafe(self._begin, submission, pending, loop)
            except RuntimeError as error:  # the loop was closed in the meantime
                _lose(pending, error)

    def _begin(self, submission: Submission, pending: PendingJob, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._send(submission, pending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, submission: Submission, pending: PendingJob) -> None:
        """Submit until Redis answers. A duplicate on a later try means that an earlier one was accepted unanswered."""
        backoff = Backoff()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while pending.record is None:
                    try:
                        pending.record = (await self._accept(submission)).record
                    except DuplicateJob:
                        if backoff.fresh:
                            raise
                        pending.record = await self._read(submission.id)
                    except StoreUnavailable as error:
                        pending.error = error
                        await asyncio.sleep(backoff.next_s())
            pending.state, pending.error = "accepted", None
        except asyncio.CancelledError:
            _lose(pending, pending.error or RuntimeError("The client was closed before the job was accepted."))
            raise
        except Exception as error:
            _lose(pending, pending.error or error)


def _lose(pending: PendingJob, error: Exception) -> None:
    pending.state, pending.error = "lost", error
    extra = {"job_id": pending.id, "kind": pending.kind}
    logger.error("A job was not submitted although its transaction has committed", extra=extra, exc_info=error)
