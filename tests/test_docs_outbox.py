"""The page about transactions is true: its code is run on SQLite, in processes that are killed at the worst moments."""

import asyncio
import importlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from arqway import JobNotFound, JobQueue, JobState, PendingJob
from arqway.workers.client import open_queue
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support import docs
from tests.support.waiting import wait_until

PAGE = "docs/outbox.md"
DATABASE = "sqlite+aiosqlite:///shop.db"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


class Shop(NamedTuple):
    """The page's modules, on a database of their own."""

    shop: ModuleType
    outbox: ModuleType
    sessions: async_sessionmaker[AsyncSession]
    jobs: JobQueue
    folder: Path

    async def orders(self) -> list[Any]:
        """Return what was committed."""
        async with self.sessions() as session:
            return list(await session.scalars(select(self.shop.Order)))

    async def rows(self) -> list[Any]:
        """Return what is in the outbox."""
        async with self.sessions() as session:
            return list(await session.scalars(select(self.outbox.OutboxJob)))

    async def order(self, *payloads: object) -> list[str]:
        """Write an order and jobs for it, and return their ids."""
        async with self.sessions.begin() as session:
            session.add(self.shop.Order(grams=1))
            given = payloads or (self.shop.OrderNumber(id=7),)
            return [self.outbox.submit_later(session, self.shop.weigh_order, payload) for payload in given]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's files, to import from."""
    files = docs.write_files(PAGE, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for path in files:
        sys.modules.pop(path.stem, None)


@pytest.fixture
async def shop(folder: Path, settings: Settings) -> AsyncIterator[Shop]:
    """The page's shop, its tables made."""
    modules = importlib.import_module("shop"), importlib.import_module("outbox")
    engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{folder}/shop.db")
    async with engine.begin() as connection:
        await connection.run_sync(modules[0].Base.metadata.create_all)
    async with open_queue(settings, modules[0].JOBS) as jobs:
        yield Shop(*modules, async_sessionmaker(engine), jobs, folder)
    await engine.dispose()


_PROGRAM = """
import asyncio, os, signal
from shop import JOBS, OrderNumber, Order, take_order, weigh_order
from outbox import relay_once, submit_later
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from arqway import open_queue
from arqway.workers.settings import Settings

def kill(*_):
    {kill}

async def main():
    sessions = async_sessionmaker(create_async_engine("{database}"))
    async with open_queue(Settings(), JOBS) as jobs:
{body}

asyncio.run(main())
"""
_BETWEEN = """
        async with sessions.begin() as session:
            session.add(Order(grams=1))
            submit_later(session, weigh_order, OrderNumber(id=7))
        kill()
"""
_BEFORE_THE_DELETION = """
        event.listen(AsyncSession.sync_session_class, "before_commit", kill)
        await relay_once(jobs, sessions)
"""
_WITHOUT = """
        async with sessions() as session:
            pending = await take_order(session, jobs, 1)
            print(pending.id, flush=True)
            event.listen(session.sync_session, "after_commit", kill, insert=True)
            await session.commit()
"""


async def killed(shop: Shop, body: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a program that kills itself where ``body`` says, and return what it printed."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    (shop.folder / "program.py").write_text(_PROGRAM.format(kill=KILL, database=DATABASE, body=body))
    code, output = await docs.run(sys.executable, "program.py", folder=shop.folder)
    assert code == -signal.SIGKILL, output
    return output.strip()


async def test_nothing_is_lost_with_an_outbox(
    shop: Shop, redis_url: str, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between commit and submission, then a relay between submission and deletion: the job runs, once."""
    await killed(shop, _BETWEEN, redis_url, monkeypatch)
    (row,) = await shop.rows()
    assert len(await shop.orders()) == 1
    with pytest.raises(JobNotFound):
        await shop.jobs.read(row.id)
    await killed(shop, _BEFORE_THE_DELETION, redis_url, monkeypatch)
    accepted = await shop.jobs.read(row.id)
    assert len(await shop.rows()) == 1
    async with run_worker(shop.shop.JOBS):
        ended = await shop.jobs.wait(row.id, timeout_s=10)
        assert await shop.outbox.relay_once(shop.jobs, shop.sessions) == 1
        assert await shop.jobs.read(row.id) == ended
    assert (ended.state, ended.result, ended.created_ms) == (JobState.SUCCEEDED, 7, accepted.created_ms)
    assert await shop.rows() == []


async def test_what_is_lost_without(shop: Shop, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between commit and submission, ``after_commit`` loses the job: the order is there, the job is not."""
    job_id = await killed(shop, _WITHOUT, redis_url, monkeypatch)
    assert len(await shop.orders()) == 1
    with pytest.raises(JobNotFound):
        await shop.jobs.read(job_id)


async def test_the_first_example(shop: Shop) -> None:
    """The order's job is submitted by the commit of the caller's transaction, with the order's number."""
    async with shop.sessions.begin() as session:
        pending = await shop.shop.take_order(session, shop.jobs, 5)
        assert pending.state == "waiting"
    assert await shop.jobs.flush()
    assert pending.state == "accepted"


async def test_a_rolled_back_order_has_no_job(shop: Shop) -> None:
    """Its row in the outbox is rolled back, too."""
    async with shop.sessions() as session:
        shop.outbox.submit_later(session, shop.shop.weigh_order, shop.shop.OrderNumber(id=1))
        await session.flush()
        await session.rollback()
    assert await shop.rows() == []
    assert await shop.outbox.relay_once(shop.jobs, shop.sessions) == 0


async def test_a_refused_row_holds_up_no_others(shop: Shop) -> None:
    """It stays, with the reason, and is not tried again."""
    (bad,) = await shop.order()
    async with shop.sessions.begin() as session:
        (await session.get_one(shop.outbox.OutboxJob, bad)).kind = "no.such"
    good = await shop.order(*(shop.shop.OrderNumber(id=n) for n in range(5)))
    assert await shop.outbox.relay_once(shop.jobs, shop.sessions) == 6
    assert {record.id for record in await shop.jobs.read_many(good)} == set(good)
    (row,) = await shop.rows()
    assert (row.id, row.refused) == (bad, "No job of this kind is registered.")
    assert await shop.outbox.relay_once(shop.jobs, shop.sessions) == 0


async def test_the_relay_goes_on(shop: Shop) -> None:
    """It sends what comes while it runs, in portions, until it is cancelled."""
    relay = asyncio.create_task(shop.outbox.relay(shop.jobs, shop.sessions, every_s=0.01))
    ids = await shop.order(*(shop.shop.OrderNumber(id=n) for n in range(250)))

    async def all_are_there() -> bool:
        return len(await shop.jobs.read_many(ids)) == len(ids)

    await wait_until(all_are_there, "all are submitted")
    relay.cancel()
    await asyncio.wait([relay])
    assert relay.cancelled()


@pytest.mark.timeout(180)
async def test_the_code_is_typed(folder: Path) -> None:
    """It passes ``mypy --strict``."""
    files = [str(folder / name) for name in docs.python_files(PAGE)]
    code, output = await docs.run(sys.executable, "-m", "mypy", "--strict", *files)
    assert code == 0, output


def test_the_states_are_those_of_the_code() -> None:
    """The table has each state of a ``PendingJob``."""
    states = get_args(get_type_hints(PendingJob)["state"])
    assert docs.first_names(docs.rows(PAGE, "A pending job")) == list(states)
