"""Databases and a server of the tests' own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    create_async_engine,
)

from tests.support.redis_server import Valkey, valkey


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database for synchronous sessions."""
    found = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with found.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    yield found
    found.dispose()


@pytest.fixture
async def async_engine(tmp_path: Path, engine: Engine) -> AsyncIterator[AsyncEngine]:
    """The same database for asynchronous sessions."""
    found = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    yield found
    await found.dispose()


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """A server that the test may stop."""
    with valkey() as server:
        yield server
