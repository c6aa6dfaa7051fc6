import asyncio
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, select

from arqway.workers.jobs.report.database import REPORTS, CatalogueEntry, open_database
from tests.support.reports import sqlite_url

ENTRY = CatalogueEntry(user_id=2**63 - 1, version=1, object_name="7/v1.pdf", sha256="0" * 64, bytes=10, pages=2)


async def test_a_recorded_report_is_found_as_it_was_recorded(tmp_path: Path) -> None:
    """A row comes back whole, its moment with a time zone, and only for its own user and version."""
    async with open_database(sqlite_url(tmp_path / "arqway.db")) as database:
        await database.record_report(ENTRY)

        assert await database.find_report(ENTRY.user_id, 1) == ENTRY
        assert await database.find_report(ENTRY.user_id, 2) is None
        assert await database.find_report(8, 1) is None


async def test_two_records_at_the_same_instant_leave_one_row_which_both_return(tmp_path: Path) -> None:
    """However often two workers record the same report at once, one row is kept and each is given that row."""
    url = sqlite_url(tmp_path / "arqway.db")
    async with open_database(url) as one, open_database(url) as other:
        for user_id in range(20):
            mine, theirs = replace(ENTRY, user_id=user_id, pages=1), replace(ENTRY, user_id=user_id, pages=2)

            first, second = await asyncio.gather(one.record_report(mine), other.record_report(theirs))

            assert first == second
            assert first in (mine, theirs)
        async with one.engine.connect() as connection:
            rows = (await connection.execute(select(func.count()).select_from(REPORTS))).scalar_one()
    assert rows == 20
