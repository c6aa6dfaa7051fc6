"""Submitting a job when a transaction of SQLAlchemy commits, and never when it rolls back.

SQLAlchemy is imported only once a session was given; it is no dependency of this package.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, cast

from arqway.workers.background import Backoff, end
from arqway.workers.client.submission import Accepted
from arqway.workers.contract.errors import DuplicateJob, StoreUnavailable
from arqway.workers.contract.record import JobRecord
from arqway.workers.store.entries import Submission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, SessionTransaction, scoped_session

    SqlSession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]
else:
    SqlSession = Any

logger = logging.getLogger("arqway.workers.client")

_PATIENCE_S = 30.0
"""How long a committed job is submitted again and again while Redis is away."""
_CLOSE_S = 5.0
"""How long closing a client waits for jobs that are on their way."""
_KEY = "arqway.after_commit"


@dataclass(eq=False, slots=True)
class PendingJob:
    """A job that is submitted once a transaction has committed. Until then it exists nowhere but in this process.

    ``state`` moves from ``waiting`` (for the commit) to ``dropped`` (rolled back: never sent), or to ``sending`` and on
    to ``accepted`` or ``lost`` (committed, but the job was not accepted; ``error`` says why).
    """

    id: str
    """The id that the job will have. ``JobQueue.read`` does not know it before the job is accepted."""
    kind: str
    queue: str
    tenant: str
    state: Literal["waiting", "dropped", "sending", "accepted", "lost"] = "waiting"
    record: JobRecord | None = None
    """The job as it was accepted; None in any other state."""
    error: Exception | None = None
    """Why the job was lost."""


@dataclass(slots=True)
class _Held:
    """What is done with one job when its transaction ends; ``savepoint`` is the innermost open one, if any."""

    savepoint: "SessionTransaction | None"
    pending: PendingJob
    send: Callable[[], None]


@dataclass(eq=False, slots=True)
class _Transactions:
    """What waits for the transactions of one session. Lives in ``session.info``, and dies with the session."""

    held: list[_Held] = field(default_factory=list)

    @classmethod
    def of(cls, session: "Session") -> "_Transactions":
        from sqlalchemy import event

        if _KEY not in session.info:
            session.info[_KEY] = found = cls()
            # First in line: the error of another listener would keep ours from being called.
            event.listen(session, "after_commit", found.committed, insert=True)
            event.listen(session, "after_transaction_end", found.ended, insert=True)
        return cast(_Transactions, session.info[_KEY])

    def committed(self, session: "Session") -> None:
        """Send what was held, or, where a savepoint was released, hold it for the transaction around it."""
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            for one in self.held:
                if one.savepoint is savepoint:
                    one.savepoint = _around(savepoint)
            return
        held, self.held = self.held, []
        for one in held:
            one.send()

    def ended(self, _: "Session", transaction: "SessionTransaction") -> None:
        """Drop what is still held for a transaction that has ended: it was not committed."""
        if transaction.parent is not None and not transaction.nested:
            return  # a flush's own, within the one that counts
        for one in self.held:
            if transaction.parent is None or one.savepoint is transaction:
                one.pending.state = "dropped"
        self.held = [one for one in self.held if one.pending.state == "waiting"]


def _around(savepoint: "SessionTransaction") -> "SessionTransaction | None":
    outer = savepoint.parent
    while outer is not None and not outer.nested:
        outer = outer.parent
    return outer


def sync_session(session: SqlSession) -> "Session":
    """Return the ``Session`` behind an ``AsyncSession`` or a scoped one: the current thread's or task's.

    Raises:
        TypeError: It is not a session of SQLAlchemy.
    """
    from sqlalchemy.orm import Session

    found: Any = session.registry() if hasattr(session, "registry") else session
    found = getattr(found, "sync_session", found)
    if not isinstance(found, Session):
        raise TypeError(f"after_commit takes a session of SQLAlchemy, not a {type(session).__name__}")
    return found


class CommitSender:
    """Sends jobs whose transactions have committed, in the background of the client's event loop.

    Args:
        accept: Submits one job.
        read: Reads its record.
    """

    def __init__(
        self, accept: Callable[[Submission], Awaitable[Accepted]], read: Callable[[str], Awaitable[JobRecord]]
    ) -> None:
        self._accept = accept
        self._read = read
        self._sending: set[asyncio.Task[None]] = set()
        self._closed = False

    def hold(self, submission: Submission, session: SqlSession) -> PendingJob:
        """Send ``submission`` when the session's outermost transaction commits: this one or, if none is open, the next.

        A rollback drops it, also one of the savepoint in which it was held.
        """
        pending = PendingJob(submission.id, submission.kind, submission.queue, submission.tenant)
        found, here = sync_session(session), (asyncio.get_running_loop(), get_ident())
        held = _Held(found.get_nested_transaction(), pending, lambda: self._committed(submission, pending, *here))
        _Transactions.of(found).held.append(held)
        return pending

    async def flush(self, *, timeout_s: float) -> bool:
        """Wait until jobs whose transactions have committed are accepted or lost; tell whether all of them are."""
        await asyncio.sleep(0)  # lets those join that were committed in other threads
        if not self._sending:
            return True
        _, late = await asyncio.wait(set(self._sending), timeout=timeout_s)
        return not late

    async def close(self) -> None:
        """Wait for what is on its way, at most 5 s, and give up on the rest."""
        await self.flush(timeout_s=_CLOSE_S)
        self._closed = True
        await end(self._sending)

    def _committed(
        self, submission: Submission, pending: PendingJob, loop: asyncio.AbstractEventLoop, thread: int
    ) -> None:
        """Begin to send. SQLAlchemy calls this, in any thread; an error here would look like the commit's."""
        pending.state = "sending"
        if self._closed or loop.is_closed():
            _lose(pending, RuntimeError("The client was closed before the transaction was committed."))
        elif get_ident() == thread:
            self._begin(submission, pending, loop)
        else:
            try:
                loop.call_soon_threadsafe(self._begin, submission, pending, loop)
            except RuntimeError as error:  # the loop was closed just now
                _lose(pending, error)

    def _begin(self, submission: Submission, pending: PendingJob, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._send(submission, pending))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, submission: Submission, pending: PendingJob) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                pending.record = await self._accepted(submission, pending)
            pending.state, pending.error = "accepted", None
        except asyncio.CancelledError:
            _lose(pending, pending.error or RuntimeError("The client was closed before the job was accepted."))
            raise
        except Exception as error:
            _lose(pending, pending.error or error)

    async def _accepted(self, submission: Submission, pending: PendingJob) -> JobRecord:
        """Submit until Redis answers. A job that is there at a later try was accepted by one that got no answer."""
        backoff = Backoff()
        while True:
            try:
                return await self._accept_once(submission, again=not backoff.fresh)
            except StoreUnavailable as error:
                pending.error = error
                await asyncio.sleep(backoff.next_s())

    async def _accept_once(self, submission: Submission, *, again: bool) -> JobRecord:
        try:
            return (await self._accept(submission)).record
        except DuplicateJob:
            if not again:
                raise
            return await self._read(submission.id)


def _lose(pending: PendingJob, error: Exception) -> None:
    pending.state, pending.error = "lost", error
    extra = {"job_id": pending.id, "kind": pending.kind}
    logger.error("A job was not submitted although its transaction has committed", extra=extra, exc_info=error)
