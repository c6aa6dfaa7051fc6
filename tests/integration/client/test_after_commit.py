"""Submitting after the commit of a SQLAlchemy transaction: on SQLite, with every kind of session."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from arqway import JobNotFound, JobQueue, JobState, Registry, SyncJobQueue
from arqway.workers.client import PendingJob, after_commit, open_queue
from arqway.workers.contract.errors import DuplicateJob, InvalidPayload, InvalidSubmission, StoreUnavailable
from arqway.workers.settings import Settings
from tests.support.jobs import Number, double
from tests.support.redis_server import Valkey, valkey
from tests.support.waiting import wait_until

JOBS = Registry([double])
_TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY)"
_INSERT = text("INSERT INTO orders DEFAULT VALUES")


@pytest.fixture
async def jobs(settings: Settings) -> AsyncIterator[JobQueue]:
    """A client."""
    async with open_queue(settings, JOBS) as queue:
        yield queue


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database for synchronous sessions."""
    found = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with found.begin() as connection:
        connection.exec_driver_sql(_TABLE)
    yield found
    found.dispose()


@pytest.fixture
async def async_engine(tmp_path: Path, engine: Engine) -> AsyncIterator[AsyncEngine]:
    """The same database for asynchronous sessions."""
    found = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    yield found
    await found.dispose()


async def is_known(jobs: JobQueue, pending: PendingJob) -> bool:
    """Tell whether the job was accepted."""
    try:
        await jobs.read(pending.id)
    except JobNotFound:
        return False
    return True


async def hold(jobs: JobQueue, session: Any, value: int = 1, **options: Any) -> PendingJob:
    """Submit a job after the session's commit."""
    return await jobs.submit(double, Number(value=value), after_commit=session, **options)


async def test_the_job_is_sent_by_the_commit(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """Before it there is no job, although its id is known; afterwards there is, as if submitted in the usual way."""
    async with AsyncSession(async_engine) as session:
        await session.execute(_INSERT)
        pending = await hold(jobs, session, tags=["order"])
        assert (pending.state, pending.record, pending.kind) == ("waiting", None, "test.double")
        assert not await is_known(jobs, pending)
        await session.commit()
        assert await jobs.flush()
    record = await jobs.read(pending.id)
    assert (pending.state, pending.record, pending.error) == ("accepted", record, None)
    assert (record.state, record.tags) == (JobState.QUEUED, ("order",))


async def test_a_rollback_drops_the_job(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """The next transaction of the same session does not send it, either."""
    async with AsyncSession(async_engine) as session:
        await session.execute(_INSERT)
        pending = await hold(jobs, session)
        await session.rollback()
        assert pending.state == "dropped"
        await session.execute(_INSERT)
        kept = await hold(jobs, session)
        await session.commit()
    assert await jobs.flush()
    assert (pending.state, kept.state) == ("dropped", "accepted")
    assert not await is_known(jobs, pending)


@pytest.mark.parametrize("end", ["close", "error", "forgotten"])
async def test_a_session_that_ends_without_a_commit_drops_the_job(
    jobs: JobQueue, async_engine: AsyncEngine, end: str
) -> None:
    """By closing it, by an error in its block, and by nobody's caring for it."""
    session = AsyncSession(async_engine)
    if end == "error":
        with contextlib.suppress(ZeroDivisionError):
            async with session, session.begin():
                pending = await hold(jobs, session)
                await session.execute(_INSERT)
                raise ZeroDivisionError
    else:
        pending = await hold(jobs, session)
        if end == "close":
            await session.execute(_INSERT)
        await (session.close() if end == "close" else asyncio.sleep(0))
    del session
    gc.collect()
    assert await jobs.flush()
    assert pending.state == ("waiting" if end == "forgotten" else "dropped")
    assert not await is_known(jobs, pending)


async def test_a_job_may_be_held_before_the_transaction_begins(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """It goes with the session's next transaction; holding it begins none."""
    async with AsyncSession(async_engine) as session:
        pending = await hold(jobs, session)
        async with session.begin():
            await session.execute(_INSERT)
        assert await jobs.flush()
        assert pending.state == "accepted"


async def test_savepoints(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """A released one passes its jobs on, a rolled back one drops those held in it and in the ones within.

    Flushes, which have transactions of their own, change nothing.
    """
    async with AsyncSession(async_engine) as session:
        pending = {"outside": await hold(jobs, session)}
        await session.execute(_INSERT)
        async with session.begin_nested():
            pending["released"] = await hold(jobs, session)
            async with session.begin_nested():
                pending["released twice"] = await hold(jobs, session)
            inner = await session.begin_nested()
            pending["rolled back"] = await hold(jobs, session)
            await session.flush()
            await inner.rollback()
        outer = await session.begin_nested()
        pending["rolled back with the outer one"] = await hold(jobs, session)
        async with session.begin_nested():
            pending["released into one that is rolled back"] = await hold(jobs, session)
        await outer.rollback()
        pending["afterwards"] = await hold(jobs, session)
        await session.begin_nested()
        pending["in one that is open at the commit"] = await hold(jobs, session)
        assert [one.state for one in pending.values() if one.state != "dropped"] == ["waiting"] * 5
        assert not any([await is_known(jobs, one) for one in pending.values()])
        await session.commit()
        assert await jobs.flush()
    assert {name for name, one in pending.items() if one.state == "accepted"} == {
        "outside",
        "released",
        "released twice",
        "afterwards",
        "in one that is open at the commit",
    }
    assert {one.state for one in pending.values()} == {"accepted", "dropped"}
    assert {name for name, one in pending.items() if await is_known(jobs, one)} == {
        name for name, one in pending.items() if one.state == "accepted"
    }


async def test_a_released_savepoint_is_dropped_with_the_outermost_transaction(
    jobs: JobQueue, async_engine: AsyncEngine
) -> None:
    """Its release was no commit."""
    async with AsyncSession(async_engine) as session:
        async with session.begin_nested():
            pending = await hold(jobs, session)
        await session.rollback()
    assert await jobs.flush()
    assert pending.state == "dropped"
    assert not await is_known(jobs, pending)


async def test_each_kind_of_session(jobs: JobQueue, engine: Engine, async_engine: AsyncEngine) -> None:
    """Synchronous, asynchronous and scoped ones; anything else is refused, a factory of sessions included."""
    sessions: list[Any] = [
        Session(engine),
        AsyncSession(async_engine),
        scoped_session(sessionmaker(engine)),
        async_scoped_session(async_sessionmaker(async_engine), asyncio.current_task),
    ]
    for session in sessions:
        pending = await hold(jobs, session)
        for call in (session.commit, jobs.flush, session.close):
            done = call()
            if asyncio.iscoroutine(done):
                await done
        assert pending.state == "accepted"
    for wrong in (engine, sessionmaker(engine), async_sessionmaker(async_engine), object()):
        with pytest.raises(TypeError, match="a session of SQLAlchemy"):
            await hold(jobs, wrong)


async def test_a_commit_in_another_thread(jobs: JobQueue, engine: Engine) -> None:
    """The job is sent by the client's own event loop, and a flush right afterwards waits for it."""
    with Session(engine) as session:
        pending = await hold(jobs, session)
        session.execute(_INSERT)
        await asyncio.to_thread(session.commit)
        assert await jobs.flush()
        assert pending.state == "accepted"


def test_the_synchronous_client(settings: Settings, engine: Engine) -> None:
    """Sends by the commit, too, and a scoped session is the calling thread's."""
    scoped = scoped_session(sessionmaker(engine))
    with SyncJobQueue(JOBS, settings=settings) as jobs:
        for session in (Session(engine), scoped):
            sent = jobs.submit(double, Number(value=1), after_commit=session)
            session.execute(_INSERT)
            session.commit()
            assert jobs.flush()
            assert (sent.state, jobs.read(sent.id).kind) == ("accepted", "test.double")
            dropped = jobs.submit(double, Number(value=1), after_commit=session)
            session.execute(_INSERT)
            session.rollback()
            assert jobs.flush()
            assert dropped.state == "dropped"
            session.close()


async def test_what_redis_is_not_asked_for_is_refused_at_once(jobs: JobQueue, engine: Engine) -> None:
    """A wrong payload and wrong options, before the commit; nothing of them is held."""
    with Session(engine) as session:
        with pytest.raises(InvalidPayload):
            await jobs.submit(double, Number.model_construct(value="x"), after_commit=session)  # type: ignore[arg-type]
        for wrong in ({"tags": ["no tag"]}, {"queue": "other"}, {"callback_url": "https://shop.example"}):
            with pytest.raises(InvalidSubmission):
                await hold(jobs, session, **wrong)
        session.commit()
    assert await jobs.flush()
    assert await jobs.redis.keys("job:*") == []


async def test_what_only_redis_can_refuse_is_logged(
    jobs: JobQueue, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit has succeeded by then; the pending job tells why, and so does the log, with its id and kind."""
    await jobs.submit(double, Number(value=1), job_id="mine")
    with Session(engine) as session:
        pending = await hold(jobs, session, job_id="mine")
        session.commit()
    assert await jobs.flush()
    assert pending.state == "lost"
    assert isinstance(pending.error, DuplicateJob)
    (logged,) = [line for line in caplog.records if line.name == "arqway.workers.client"]
    assert (logged.levelno, logged.__dict__["job_id"]) == (logging.ERROR, "mine")


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server that the test may stop."""
    with valkey() as server:
        yield server


@pytest.fixture
async def own_jobs(own_server: Valkey, settings: Settings) -> AsyncIterator[JobQueue]:
    """A client of it."""
    changed = settings.model_copy(update={"redis_url": SecretStr(own_server.url)})
    async with open_queue(changed, JOBS) as queue:
        yield queue


async def test_redis_comes_back_after_the_commit(own_jobs: JobQueue, own_server: Valkey, engine: Engine) -> None:
    """The commit does not fail, nor wait; the job is submitted when Redis is back, once."""
    own_server.stop()
    with Session(engine) as session:
        pending = await hold(own_jobs, session)
        session.execute(_INSERT)
        session.commit()
        assert session.execute(text("SELECT count(*) FROM orders")).scalar() == 1
    await wait_until(lambda: isinstance(pending.error, StoreUnavailable), "the first try has failed")
    assert not await own_jobs.flush(timeout_s=0)
    assert pending.state == "sending"
    own_server.start()
    assert await own_jobs.flush()
    assert (pending.state, pending.error) == ("accepted", None)
    assert await is_known(own_jobs, pending)


async def test_redis_stays_away(
    own_jobs: JobQueue, own_server: Valkey, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time the job is given up on, and its error says why."""
    monkeypatch.setattr(after_commit, "_PATIENCE_S", 0.2)
    own_server.stop()
    with Session(engine) as session:
        pending = await hold(own_jobs, session)
        session.commit()
    assert await own_jobs.flush()
    assert pending.state == "lost"
    assert isinstance(pending.error, StoreUnavailable)


async def test_an_answer_that_got_lost_is_no_refusal(jobs: JobQueue, engine: Engine) -> None:
    """Where the first try did arrive, the second finds the job, and that is the job."""
    accept, calls = jobs.commits._accept, []

    async def unanswered(submission: Any) -> Any:
        calls.append(await accept(submission))
        raise StoreUnavailable

    async def first_unanswered(submission: Any) -> Any:
        return await (accept if calls else unanswered)(submission)

    jobs.commits._accept = first_unanswered
    with Session(engine) as session:
        pending = await hold(jobs, session)
        session.commit()
    assert await jobs.flush()
    assert (pending.state, pending.record) == ("accepted", calls[0].record)


@pytest.mark.parametrize("thread", [False, True], ids=["same thread", "other thread"])
async def test_a_commit_after_the_client_was_closed(settings: Settings, engine: Engine, thread: bool) -> None:
    """The commit does not fail; the job is lost, and says so."""
    with Session(engine) as session:
        async with open_queue(settings, JOBS) as jobs:
            pending = await hold(jobs, session)
        session.execute(_INSERT)
        await (asyncio.to_thread(session.commit) if thread else asyncio.sleep(0))
        session.commit()
        assert session.execute(text("SELECT count(*) FROM orders")).scalar() == 1
    assert pending.state == "lost"
    assert "closed" in str(pending.error)


def test_a_commit_after_the_event_loop_has_ended(settings: Settings, engine: Engine) -> None:
    """Nor does it fail then, in whatever thread; nothing is left behind that nobody awaits."""

    async def held(session: Session) -> PendingJob:
        jobs = await open_queue(settings, JOBS).__aenter__()  # never closed, as by a program that is careless
        pending = await hold(jobs, session)
        await jobs.redis.aclose()
        return pending

    with Session(engine) as session:
        pending = asyncio.run(held(session))
        session.commit()
    assert pending.state == "lost"


async def test_closing_waits_for_what_is_on_its_way(settings: Settings, engine: Engine) -> None:
    """A program that commits and ends loses nothing."""
    async with open_queue(settings, JOBS) as jobs:
        with Session(engine) as session:
            pending = await hold(jobs, session)
            session.commit()
    assert pending.state == "accepted"


async def test_another_listeners_error_does_not_keep_the_job_from_being_sent(jobs: JobQueue, engine: Engine) -> None:
    """The transaction has committed; an error of somebody else's hook does not undo that."""

    def broken(_: Session) -> None:
        raise ZeroDivisionError

    with Session(engine) as session:
        event.listen(session, "after_commit", broken)
        pending = await hold(jobs, session)
        with pytest.raises(ZeroDivisionError):
            session.commit()
    assert await jobs.flush()
    assert pending.state == "accepted"


async def test_a_session_is_listened_to_once(jobs: JobQueue, engine: Engine) -> None:
    """However many jobs and transactions it has, each job is sent by its own, once."""
    with Session(engine) as session:
        sent = []
        for n in range(20):
            sent += [await hold(jobs, session, n), await hold(jobs, session, n)]
            session.commit()
    assert await jobs.flush()
    assert {one.state for one in sent} == {"accepted"}
    assert len(await jobs.redis.keys("job:*")) == 40
