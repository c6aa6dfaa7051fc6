"""What the report job shares within a worker process: database, store, press, and the figures of all customers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arqway.workers.jobs.report.catalogue import Catalogue
    from arqway.workers.jobs.report.orders import OrderBook
    from arqway.workers.jobs.report.population import Population
    from arqway.workers.jobs.report.press import Press
    from arqway.workers.jobs.report.settings import FailureInjector, ReportSettings
    from arqway.workers.jobs.report.storage import ReportStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResources:
    """Everything needed to make a report; it is ``ctx.resources`` of ``generate_report``."""

    orders: "OrderBook"
    population: "Population"
    press: "Press"
    store: "ReportStore"
    catalogue: "Catalogue"
    failures: "FailureInjector"


NEEDS = dict.fromkeys(("aiosqlite", "matplotlib", "obstore", "sqlalchemy", "typst"), "arqway[report]")
"""What a registry with the report job needs; see ``Registry``."""


@asynccontextmanager
async def open_report_resources(settings: "ReportSettings | None" = None) -> AsyncIterator[ReportResources]:
    """Open everything, loading the data set into the database if it is not there yet, and close it all on exit.

    Args:
        settings: Read from the environment by default.

    Raises:
        StoreUnusable: The store's folder cannot be written.
    """
    # Imported here because only workers need these: the HTTP service imports this module for the job's signature.
    from arqway.workers.jobs.report.catalogue import Catalogue
    from arqway.workers.jobs.report.database import open_database
    from arqway.workers.jobs.report.orders import OrderBook
    from arqway.workers.jobs.report.population import read_population
    from arqway.workers.jobs.report.press import Press
    from arqway.workers.jobs.report.settings import FailureInjector, ReportSettings
    from arqway.workers.jobs.report.storage import open_store

    settings = settings or ReportSettings()
    store = open_store(settings.store_url)
    async with open_database(settings.database_url) as engine, Press(settings.typesetters) as press:
        orders = OrderBook(engine)
        await orders.load()
        population = await read_population(engine)
        yield ReportResources(
            orders=orders,
            population=population,
            press=press,
            store=store,
            catalogue=Catalogue(engine),
            failures=FailureInjector(settings.failure_rate, settings.failure_seed),
        )
