"""Submitting after the commit of a SQLAlchemy transaction: on SQLite, with every kind of session."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from arqway import JobQueue, JobState, SyncJobQueue
from arqway.workers.client import open_queue
from arqway.workers.settings import Settings
from tests.support.held_jobs import INSERT, JOBS, hold, is_known
from tests.support.jobs import Number, double


@pytest.fixture
async def jobs(settings: Settings) -> AsyncIterator[JobQueue]:
    """A client."""
    async with open_queue(settings, JOBS) as queue:
        yield queue


async def test_the_job_is_sent_by_the_commit(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """Before it there is no job, although its id is known; afterwards there is, as if submitted in the usual way."""
    async with AsyncSession(async_engine) as session:
        await session.execute(INSERT)
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
        await session.execute(INSERT)
        pending = await hold(jobs, session)
        await session.rollback()
        assert pending.state == "dropped"
        await session.execute(INSERT)
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
                await session.execute(INSERT)
                raise ZeroDivisionError
    else:
        pending = await hold(jobs, session)
        if end == "close":
            await session.execute(INSERT)
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
            await session.execute(INSERT)
        assert await jobs.flush()
        assert pending.state == "accepted"


async def test_savepoints(jobs: JobQueue, async_engine: AsyncEngine) -> None:
    """A released one passes its jobs on, a rolled back one drops those held in it and in the ones within.

    Flushes, which have transactions of their own, change nothing.
    """
    async with AsyncSession(async_engine) as session:
        pending = {"outside": await hold(jobs, session)}
        await session.execute(INSERT)
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
        session.execute(INSERT)
        await asyncio.to_thread(session.commit)
        assert await jobs.flush()
        assert pending.state == "accepted"


def test_the_synchronous_client(settings: Settings, engine: Engine) -> None:
    """Sends by the commit, too, and a scoped session is the calling thread's."""
    scoped = scoped_session(sessionmaker(engine))
    with SyncJobQueue(JOBS, settings=settings) as jobs:
        for session in (Session(engine), scoped):
            sent = jobs.submit(double, Number(value=1), after_commit=session)
            session.execute(INSERT)
            session.commit()
            assert jobs.flush()
            assert (sent.state, jobs.read(sent.id).kind) == ("accepted", "test.double")
            dropped = jobs.submit(double, Number(value=1), after_commit=session)
            session.execute(INSERT)
            session.rollback()
            assert jobs.flush()
            assert dropped.state == "dropped"
            session.close()


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
