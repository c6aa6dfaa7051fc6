"""Jobs for the tests of the HTTP service."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from arqway import DiscardJob, JobContext, Registry, RetryPolicy, job

SECRET = "pa55word-in-an-exception"  # noqa: S105 - what must never leave the service


class Customer(BaseModel):
    """Whose report to make."""

    model_config = ConfigDict(extra="forbid")

    user_id: int = Field(ge=0, le=2**63 - 1, strict=True)


class MadeReport(BaseModel):
    """What the real report job returns, in short."""

    user_id: int
    report_url: str
    object_name: str


@job("report.generate")
async def make_report(ctx: JobContext, payload: Customer) -> MadeReport:
    """Make a report of nothing."""
    await ctx.progress(5, total=5, message="Stored")
    if payload.user_id == 0:
        raise DiscardJob("unknown_customer", "There is no customer 0.")
    if payload.user_id == 1:
        raise RuntimeError(SECRET)
    return MadeReport(
        user_id=payload.user_id, report_url=f"/reports/{ctx.job_id}/file", object_name=f"{payload.user_id}/v1.pdf"
    )


@job("test.sum", retry=RetryPolicy(max_attempts=3, on=(ConnectionError,)))
async def add_up(ctx: JobContext, payload: list[int]) -> int:
    """Add numbers up. Its payload is no object."""
    await ctx.progress(len(payload), message="Read")
    return sum(payload)


@job("test.nothing")
async def do_nothing(ctx: JobContext, payload: dict[str, str]) -> None:
    """Do nothing."""


@job("test.anything")
async def do_anything(ctx: JobContext, payload: Any) -> None:
    """Do nothing with whatever JSON there is."""


@job("test.leaky")
async def leak(ctx: JobContext, payload: Customer) -> None:
    """Fail with a secret in the exception."""
    raise ValueError(SECRET)


@job("test.choosy", other_queues=("slow",))
async def choose(ctx: JobContext, payload: int) -> int:
    """Return the number, from one of two queues."""
    return payload


JOBS = Registry([choose, make_report, add_up, do_nothing, do_anything, leak])
