"""Submitting after a commit when something is wrong: the job, Redis, the client, or another listener."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from arqway import JobQueue
from arqway.workers.client import PendingJob, after_commit, open_queue
from arqway.workers.contract.errors import DuplicateJob, InvalidPayload, InvalidSubmission, StoreUnavailable
from arqway.workers.settings import Settings
from tests.support.held_jobs import INSERT, JOBS, hold, is_known
from tests.support.jobs import Number, double
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until


@pytest.fixture
async def jobs(settings: Settings) -> AsyncIterator[JobQueue]:
    """A client."""
    async with open_queue(settings, JOBS) as queue:
        yield queue


async def test_what_redis_is_not_asked_for_is_refused_at_once(jobs: JobQueue, engine: Engine) -> None:
    """A wrong payload and wrong options, before the commit; nothing of them is held."""
    with Session(engine) as session:
        with pytest.raises(InvalidPayload):
            await jobs.submit(double, Number.model_construct(value="x"), after_commit=session)
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
        session.execute(INSERT)
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
        session.execute(INSERT)
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
