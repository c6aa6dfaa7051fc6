"""Ready-made ground for the report's tests: a database with the data set in it, and resources on a copy of it."""

import asyncio
import shutil
from contextlib import AbstractAsyncContextManager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from arqway.workers.jobs.report.content import compose
from arqway.workers.jobs.report.database import open_database
from arqway.workers.jobs.report.figures import Order, Population, measure, summarise
from arqway.workers.jobs.report.generate import ReportResources, open_report_resources
from arqway.workers.jobs.report.settings import ReportSettings

FIRST, LAST = date(1997, 1, 1), date(1998, 6, 30)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{path}"


def make_loaded_database(path: Path) -> Path:
    """Make a SQLite file that holds the whole data set; copy it before writing to it."""

    async def load() -> None:
        async with open_database(sqlite_url(path)) as database:
            await database.load_orders()

    asyncio.run(load())
    return path


def open_resources(
    loaded: Path, home: Path, *, failure_rate: float = 0
) -> AbstractAsyncContextManager[ReportResources]:
    """Open resources on a copy of a loaded database, with everything that is written below ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    database = home / "arqway.db"
    if not database.exists():
        shutil.copyfile(loaded, database)
    settings = ReportSettings(
        home=home,
        database_url=sqlite_url(database),
        store_url=f"{home.as_uri()}/reports",
        typesetters=2,
        failure_rate=failure_rate,
        failure_seed=1,
    )
    return open_report_resources(settings)


def compose_from(loaded: Path, customer_id: int) -> dict[str, Any]:
    """Return the content of a customer's report."""

    async def read() -> dict[str, Any]:
        async with open_database(sqlite_url(loaded)) as database:
            orders = await database.orders_of(customer_id)
            population = await database.read_population()
        return compose(summarise(customer_id, orders, population), orders, population)

    return asyncio.run(read())


def make_population(*customers: tuple[int, int]) -> Population:
    """Return the figures of customers given as (number of orders, cents spent)."""
    return measure(customers, FIRST, LAST)


def make_order(ordered_on: date, amount: str = "10.00", cds: int = 1) -> Order:
    """Return an order of ten dollars, unless told."""
    return Order(ordered_on, cds, Decimal(amount))
