"""The database of the report job: the orders, loaded once from ``data/``, and the catalogue of finished reports.

An asynchronous SQLAlchemy engine, on SQLite (WAL) or PostgreSQL. Money is stored in whole cents, so that a sum in SQL
is exact on both.
"""

import csv
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from arqway.workers.jobs.report.figures import Order, Population, measure
from arqway.workers.settings import make_private

DATASET = "cdnow_orders"
BUSY_TIMEOUT_S = 30
SCHEMA_LOCK = 4_171_090_126  # arbitrary, but the same in every process


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A datetime in UTC that keeps its time zone, even on SQLite, which stores none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Read a datetime without a time zone as UTC."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


METADATA = sa.MetaData()
_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows automatically only in INTEGER columns."""

ORDERS = sa.Table(
    "orders",
    METADATA,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("customer_id", sa.BigInteger, nullable=False),
    sa.Column("ordered_on", sa.Date, nullable=False),
    sa.Column("cds", sa.Integer, nullable=False),
    sa.Column("cents", sa.BigInteger, nullable=False),
    sa.Index("orders_by_customer", "customer_id", "ordered_on"),
)
DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("loaded_at", UtcDateTime, nullable=False),
)
REPORTS = sa.Table(
    "reports",
    METADATA,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("object_name", sa.String(200), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("pages", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("user_id", "version", name="one_report_per_user_and_version"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A finished report: where its file is and what it is like."""

    user_id: int
    version: int
    object_name: str
    sha256: str
    bytes: int
    pages: int
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class ReportDatabase:
    """The shop's orders, and the catalogue: one row per user and version, only for reports whose file is stored."""

    engine: AsyncEngine

    async def load_orders(self) -> bool:
        """Load the data set unless the database has it; return whether this call did.

        One transaction, which starts by writing the marker. Of several concurrent loaders, one writes it; the others
        wait for that row, find it taken once the winner has committed, and load nothing. If the winner dies, its
        marker is gone, too.
        """
        async with self.engine.begin() as connection:
            marker = {"name": DATASET, "loaded_at": datetime.now(UTC)}
            marked = await connection.execute(self._insert_if_absent(DATASETS), marker)
            if marked.rowcount:
                await connection.execute(sa.insert(ORDERS), list(_rows()))
            return bool(marked.rowcount)

    async def orders_of(self, customer_id: int) -> tuple[Order, ...]:
        """Return the orders of one customer, oldest first; empty if there is no such customer."""
        query = sa.select(ORDERS).where(ORDERS.c.customer_id == customer_id).order_by(ORDERS.c.ordered_on, ORDERS.c.id)
        async with self.engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(Order(row.ordered_on, row.cds, Decimal(row.cents) / 100) for row in rows)

    async def read_population(self) -> Population:
        """Sum up the orders of every customer."""
        each = sa.select(sa.func.count(), sa.func.sum(ORDERS.c.cents)).group_by(ORDERS.c.customer_id)
        period = sa.select(sa.func.min(ORDERS.c.ordered_on), sa.func.max(ORDERS.c.ordered_on))
        async with self.engine.connect() as connection:
            customers = [(orders, int(cents)) for orders, cents in (await connection.execute(each)).all()]
            first, last = (await connection.execute(period)).one()
        return measure(customers, first, last)

    async def find_report(self, user_id: int, version: int) -> CatalogueEntry | None:
        """Return a user's finished report of this version, if there is one."""
        columns = [REPORTS.c[each.name] for each in fields(CatalogueEntry)]
        query = sa.select(*columns).where(REPORTS.c.user_id == user_id, REPORTS.c.version == version)
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return CatalogueEntry(**row) if row else None

    async def record_report(self, entry: CatalogueEntry) -> CatalogueEntry:
        """Record a report whose file is stored, and return the report's row.

        Safe to repeat. If two callers record the same report at once, the unique key admits one, and both get its row.
        """
        async with self.engine.begin() as connection:
            await connection.execute(self._insert_if_absent(REPORTS), asdict(entry))
        return await self.find_report(entry.user_id, entry.version) or entry

    def _insert_if_absent(self, table: sa.Table) -> sa.Insert:
        """Return an ``INSERT`` that does nothing if a unique key is taken; its ``rowcount`` is 1 if it inserted."""
        if self.engine.dialect.name == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        return postgresql.insert(table).on_conflict_do_nothing()


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[ReportDatabase]:
    """Open the database, creating missing tables. Safe when several processes do so on an empty database at once."""
    engine = _create_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_create_tables)
        yield ReportDatabase(engine)
    finally:
        await engine.dispose()


def _create_engine(url: str) -> AsyncEngine:
    if sa.make_url(url).get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    if path := sa.make_url(url).database:
        make_private(Path(path).parent)
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's implicit BEGIN comes only before writes, not before CREATE TABLE
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    sa.event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _create_tables(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":  # concurrent CREATE TABLE IF NOT EXISTS can collide there
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
    for table in METADATA.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))


def _rows() -> Iterator[dict[str, Any]]:
    dataset = files("arqway.workers.jobs.report") / "data" / f"{DATASET}.csv.gz"
    with as_file(dataset) as path, gzip.open(path, "rt") as lines:
        for order in csv.DictReader(lines):
            yield {
                "customer_id": int(order["customer_id"]),
                "ordered_on": date.fromisoformat(order["ordered_on"]),
                "cds": int(order["cds"]),
                "cents": int(Decimal(order["usd"]) * 100),
            }
