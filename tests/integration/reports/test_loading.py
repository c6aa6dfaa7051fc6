import asyncio
import sys
from pathlib import Path

from sqlalchemy import func, select

from arqway.workers.jobs.report.database import ORDERS, open_database
from tests.support.reports import sqlite_url

LOAD = """
import asyncio, sys
from arqway.workers.jobs.report.database import open_database

async def load():
    async with open_database(sys.argv[1]) as database:
        print(await database.load_orders())

asyncio.run(load())
"""


async def count_orders(url: str) -> int:
    """Return how many orders the database holds."""
    async with open_database(url) as database, database.engine.connect() as connection:
        return (await connection.execute(select(func.count()).select_from(ORDERS))).scalar_one()


async def load(url: str) -> bool:
    """Load the data set with an engine of its own, and tell whether this call did it."""
    async with open_database(url) as database:
        return await database.load_orders()


async def test_two_loaders_at_once_load_the_data_set_once(tmp_path: Path) -> None:
    """Of two loaders on one empty database, one loads all orders and the other finds them loaded."""
    url = sqlite_url(tmp_path / "new" / "arqway.db")

    loaded = await asyncio.gather(load(url), load(url))

    assert sorted(loaded) == [False, True]
    assert await count_orders(url) == 69_659


async def test_processes_that_start_at_once_load_the_data_set_once(tmp_path: Path) -> None:
    """Four processes on one empty database all start well, and one of them loads."""
    url = sqlite_url(tmp_path / "new" / "arqway.db")

    answers = await asyncio.gather(*(_load_in_process(url) for _ in range(4)))

    assert sorted(answers) == ["False", "False", "False", "True"]
    assert await count_orders(url) == 69_659


async def _load_in_process(url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LOAD, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode().strip()
