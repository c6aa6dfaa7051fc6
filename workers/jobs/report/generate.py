"""Job ``report.generate``: typeset one customer's report and store it once.

Only workers need a database driver, matplotlib, typst and the report store. They are imported when resources are
opened, so that the HTTP service can import the job and its models without them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from arqway import DiscardJob, JobContext, RetryPolicy, job
from arqway.workers.jobs.report.content import REPORT_VERSION, compose
from arqway.workers.jobs.report.figures import Population, summarise

if TYPE_CHECKING:
    from arqway.workers.jobs.report.database import CatalogueEntry, ReportDatabase
    from arqway.workers.jobs.report.press import Press
    from arqway.workers.jobs.report.settings import FailureInjector, ReportSettings
    from arqway.workers.jobs.report.storage import ReportStore

STEPS = 5
NEEDS = dict.fromkeys(("aiosqlite", "matplotlib", "obstore", "sqlalchemy", "typst"), "arqway[report]")
"""What a registry with the report job needs; see ``Registry``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResources:
    """What report jobs share within a worker process; it is ``ctx.resources`` of ``generate_report``."""

    database: "ReportDatabase"
    population: Population
    """Read once, since past orders do not change."""
    press: "Press"
    store: "ReportStore"
    failures: "FailureInjector"


@asynccontextmanager
async def open_report_resources(settings: "ReportSettings | None" = None) -> AsyncIterator[ReportResources]:
    """Open everything, loading the data set into the database if it is not there yet, and close it all on exit.

    Args:
        settings: Read from the environment by default.

    Raises:
        StoreUnusable: The store's folder cannot be written.
    """
    from arqway.workers.jobs.report.database import open_database
    from arqway.workers.jobs.report.press import Press
    from arqway.workers.jobs.report.settings import FailureInjector, ReportSettings
    from arqway.workers.jobs.report.storage import open_store

    settings = settings or ReportSettings()
    store = open_store(settings.store_url)
    async with open_database(settings.database_url) as database, Press(settings.typesetters) as press:
        await database.load_orders()
        yield ReportResources(
            database=database,
            population=await database.read_population(),
            press=press,
            store=store,
            failures=FailureInjector(settings.failure_rate, settings.failure_seed),
        )


class ReportRequest(BaseModel):
    """Whose report to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Annotated[
        int, Field(strict=True, ge=0, le=2**63 - 1, description="Number of the customer", examples=[14048])
    ]


class Report(BaseModel):
    """A finished report and where to get it."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "user_id": 14048,
                    "report_url": "/reports/0c2f7e6d9b1a4f4c8a51d3e2f6b7a890/file",
                    "object_name": "14048/v1.pdf",
                    "version": 1,
                    "pages": 2,
                    "bytes": 81_208,
                    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                }
            ]
        },
    )

    user_id: int
    report_url: Annotated[str, Field(description="Where to download the PDF, relative to the service")]
    object_name: Annotated[str, Field(description="Name of the PDF in the report store")]
    version: Annotated[int, Field(description="Version of the report's layout and figures")]
    pages: int
    bytes: int
    sha256: Annotated[str, Field(description="SHA-256 of the PDF, in hexadecimal")]


@job(
    "report.generate",
    timeout=timedelta(seconds=60),
    soft_timeout=timedelta(seconds=55),
    retry=RetryPolicy(max_attempts=6, base=timedelta(seconds=1), cap=timedelta(minutes=10), on=(Exception,)),
)
async def generate_report(ctx: JobContext[ReportResources], payload: ReportRequest) -> Report:
    """Typeset one customer's report. Safe to repeat: there is one report for each user and version."""
    shared, customer = ctx.resources, payload.user_id
    entry = await shared.database.find_report(customer, REPORT_VERSION)
    if entry and await shared.store.head(entry.object_name):  # a deleted file is made again
        await ctx.progress(STEPS, total=STEPS, message="Made before")
    else:
        orders = await shared.database.orders_of(customer)
        if not orders:
            raise DiscardJob("unknown_customer", f"There is no customer {customer}.")
        await advance(ctx, 1, "Orders read")

        content = compose(summarise(customer, orders, shared.population), orders, shared.population)
        await advance(ctx, 2, "Summarised")

        shared.failures.strike(ctx.job_id, ctx.attempt)
        charts = await shared.press.draw_charts(content)
        await advance(ctx, 3, "Charts drawn")

        pdf, pages = await shared.press.typeset(content, charts)
        await advance(ctx, 4, "Typeset")

        entry = await store_report(shared, customer, pdf, pages)
        await advance(ctx, 5, "Stored")
    # The URL is that of this job, even if another job made the file.
    return Report.model_validate({**asdict(entry), "report_url": f"/reports/{ctx.job_id}/file"})


async def advance(ctx: JobContext[ReportResources], step: int, message: str) -> None:
    """Report a finished step, and start no other after the soft time limit, so that the attempt ends cleanly."""
    await ctx.progress(step, total=STEPS, message=message)
    if ctx.deadline_near.is_set() and step < STEPS:
        raise TimeoutError(f"The soft time limit passed after step {step} of {STEPS}: {message}")


async def store_report(shared: ReportResources, user_id: int, pdf: bytes, pages: int) -> "CatalogueEntry":
    """Store the file, then record it, so that there is never a row without its file.

    Dying in between leaves a file that the next attempt replaces with the same bytes. Two concurrent attempts do the
    same, and both return the row of the one that recorded first.
    """
    from arqway.workers.jobs.report.database import CatalogueEntry

    entry = CatalogueEntry(
        user_id=user_id,
        version=REPORT_VERSION,
        object_name=f"{user_id}/v{REPORT_VERSION}.pdf",
        sha256=sha256(pdf).hexdigest(),
        bytes=len(pdf),
        pages=pages,
    )
    await shared.store.put(entry.object_name, pdf)
    return await shared.database.record_report(entry)
