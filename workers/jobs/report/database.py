"""The database of the report job: an asynchronous SQLAlchemy engine, on SQLite (WAL) or PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Insert, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from arqway.workers.jobs.report import schema

BUSY_TIMEOUT_S = 30
SCHEMA_LOCK = 4_171_090_126  # arbitrary, but the same in every process


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[AsyncEngine]:
    """Open the database, creating missing tables. Safe when several processes do so on an empty database at once."""
    engine = _create_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_create_tables)
        yield engine
    finally:
        await engine.dispose()


def insert_if_absent(dialect_name: str, table: Any) -> Insert:
    """Return an ``INSERT`` that does nothing if a unique key is taken; its ``rowcount`` is 1 if it inserted, else 0."""
    if dialect_name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _create_engine(url: str) -> AsyncEngine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    if path := make_url(url).database:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # Python's implicit BEGIN comes only before writes, and not before CREATE TABLE
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _create_tables(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # concurrent CREATE TABLE IF NOT EXISTS can collide there
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
    for table in schema.metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
