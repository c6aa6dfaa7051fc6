"""Job ``report.generate``: typeset one customer's report and store it once."""

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from arqway import DiscardJob, JobContext, RetryPolicy, job
from arqway.workers.jobs.report.content import REPORT_VERSION, compose
from arqway.workers.jobs.report.resources import ReportResources
from arqway.workers.jobs.report.summary import summarise

if TYPE_CHECKING:
    from arqway.workers.jobs.report.catalogue import CatalogueEntry
    from arqway.workers.jobs.report.press import TypesetReport

STEPS = 5


class ReportRequest(BaseModel):
    """Whose report to make."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_id: Annotated[
        int, Field(strict=True, ge=0, le=2**63 - 1, description="Number of the customer", examples=[14048])
    ]


_EXAMPLE: JsonDict = {
    "user_id": 14048,
    "report_url": "/reports/0c2f7e6d9b1a4f4c8a51d3e2f6b7a890/file",
    "object_name": "14048/v1.pdf",
    "version": 1,
    "pages": 2,
    "bytes": 81_208,
    "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
}


class Report(BaseModel):
    """A finished report and where to get it."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

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
    made_before = await find_report(ctx.resources, payload.user_id)
    if made_before:
        await ctx.progress(STEPS, total=STEPS, message="Made before")
        return answer(ctx, made_before)

    orders = await ctx.resources.orders.of_customer(payload.user_id)
    if not orders:
        raise DiscardJob("unknown_customer", f"There is no customer {payload.user_id}.")
    await advance(ctx, 1, "Orders read")

    summary = summarise(payload.user_id, orders, ctx.resources.population)
    content = compose(summary, orders, ctx.resources.population)
    await advance(ctx, 2, "Summarised")

    ctx.resources.failures.strike(ctx.job_id, ctx.attempt)
    charts = await ctx.resources.press.draw_charts(content)
    await advance(ctx, 3, "Charts drawn")

    document = await ctx.resources.press.typeset(content, charts)
    await advance(ctx, 4, "Typeset")

    stored = await store_report(ctx.resources, payload.user_id, document)
    await advance(ctx, 5, "Stored")
    return answer(ctx, stored)


async def advance(ctx: JobContext[ReportResources], step: int, message: str) -> None:
    """Report a finished step, and start no other after the soft time limit, so that the attempt ends cleanly."""
    await ctx.progress(step, total=STEPS, message=message)
    if ctx.deadline_near.is_set() and step < STEPS:
        raise TimeoutError(f"The soft time limit passed after step {step} of {STEPS}: {message}")


async def find_report(resources: ReportResources, user_id: int) -> "CatalogueEntry | None":
    """Return the existing report; None if there is none, or its file was deleted and must be made again."""
    entry = await resources.catalogue.find(user_id, REPORT_VERSION)
    return entry if entry and await resources.store.head(entry.object_name) else None


async def store_report(resources: ReportResources, user_id: int, document: "TypesetReport") -> "CatalogueEntry":
    """Store the file, then record it, so that there is never a row without its file.

    Dying in between leaves a file that the next attempt replaces with the same bytes. Two concurrent attempts do the
    same, and both return the row of the one that recorded first.
    """
    from arqway.workers.jobs.report.catalogue import CatalogueEntry  # needs a database driver, which only workers have

    entry = CatalogueEntry(
        user_id=user_id,
        version=REPORT_VERSION,
        object_name=f"{user_id}/v{REPORT_VERSION}.pdf",
        sha256=sha256(document.pdf).hexdigest(),
        bytes=len(document.pdf),
        pages=document.pages,
    )
    await resources.store.put(entry.object_name, document.pdf)
    return await resources.catalogue.record(entry)


def answer(ctx: JobContext[ReportResources], entry: "CatalogueEntry") -> Report:
    """Return the job's result. Its URL is that of this job, even if another job made the file."""
    return Report(
        user_id=entry.user_id,
        report_url=f"/reports/{ctx.job_id}/file",
        object_name=entry.object_name,
        version=entry.version,
        pages=entry.pages,
        bytes=entry.bytes,
        sha256=entry.sha256,
    )
