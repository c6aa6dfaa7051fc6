"""The catalogue of finished reports: one row per user and version, and only for reports whose file is stored."""

from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from arqway.workers.jobs.report import schema
from arqway.workers.jobs.report.database import insert_if_absent


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A finished report: where its file is and what it is like."""

    user_id: int
    version: int
    object_name: str
    sha256: str
    bytes: int
    pages: int
    created_at: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The ``reports`` table of one database."""

    engine: AsyncEngine

    async def find(self, user_id: int, version: int) -> CatalogueEntry | None:
        """Return a user's finished report of this version, if there is one."""
        async with self.engine.connect() as connection:
            return await self._read(connection, user_id, version)

    async def record(self, entry: CatalogueEntry) -> CatalogueEntry:
        """Record a report whose file is stored, and return the report's row.

        Safe to repeat. If two callers record the same report at once, the unique key admits one, and both get its row.
        """
        async with self.engine.begin() as connection:
            await connection.execute(insert_if_absent(connection.dialect.name, schema.reports), asdict(entry))
            winner = await self._read(connection, entry.user_id, entry.version)
        assert winner is not None, "the row was inserted or was there"  # noqa: S101
        return winner

    @staticmethod
    async def _read(connection: AsyncConnection, user_id: int, version: int) -> CatalogueEntry | None:
        table = schema.reports.c
        columns = [table[field.name] for field in fields(CatalogueEntry)]
        query = select(*columns).where(table.user_id == user_id, table.version == version)
        row = (await connection.execute(query)).one_or_none()
        return CatalogueEntry(**row._mapping) if row else None
