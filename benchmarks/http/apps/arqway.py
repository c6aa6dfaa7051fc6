"""Our jobs; the API is ``python -m arqway.service`` as it comes."""

import asyncio
import time

from pydantic import BaseModel

from arqway import DiscardJob, JobContext, Registry, job
from benchmarks.http.apps import Order


class Course(BaseModel):
    """How often a job is to report, and how far apart."""

    reports: int
    every_s: float


@job("noop")
async def noop(ctx: JobContext, payload: Order) -> None:
    """Do nothing."""


@job("rare")
async def rare(ctx: JobContext, payload: Order) -> None:
    """Do nothing, under a kind that few jobs have."""


@job("failing")
async def failing(ctx: JobContext, payload: Order) -> None:
    """Fail for good."""
    raise DiscardJob("benchmark", "It fails as it was asked to.")


@job("reporting")
async def reporting(ctx: JobContext, payload: Course) -> None:
    """Report progress, each time with the moment by the monotonic clock, which all processes of a machine share."""
    for number in range(payload.reports):
        await asyncio.sleep(payload.every_s)
        await ctx.progress(number + 1, payload.reports, f"sent={time.monotonic_ns()}")
    await asyncio.sleep(payload.every_s)  # the last one too is written before the end


JOBS = Registry([noop, rare, failing, reporting])
