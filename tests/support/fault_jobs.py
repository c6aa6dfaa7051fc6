"""Jobs of the fault tests. What they do is noted in a folder: the effects, beside the records that tests judge by."""

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import NamedTuple

from pydantic import BaseModel

from arqway import JobContext, Registry, RetryPolicy, job
from arqway.workers.contract.errors import LeaseLost

_LOOK_S = 0.02
_SOON = timedelta(milliseconds=50)


class Place(BaseModel):
    """The folder of a test."""

    folder: Path


class Work(Place):
    """What one job is to do: fail so many attempts, then take so long."""

    seconds: float = 0
    failures: int = 0


class Note(NamedTuple):
    """A line that a job wrote."""

    what: str
    job_id: str
    attempt: int
    pid: int
    at_s: float


def note(place: Place, what: str, ctx: JobContext) -> None:
    """Write a line, whole or not at all, also beside other processes."""
    line = f"{what} {ctx.job_id} {ctx.attempt} {os.getpid()} {time.time()}\n"
    descriptor = os.open(place.folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def notes(folder: Path, what: str = "") -> list[Note]:
    """Return the lines so far; those that say ``what``, if that is given."""
    path = folder / "notes"
    fields = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    found = [Note(f[0], f[1], int(f[2]), int(f[3]), float(f[4])) for f in fields]
    return [line for line in found if what in {"", line.what}]


def times(folder: Path, what: str) -> Counter[str]:
    """Return how often each job has noted ``what``."""
    return Counter(line.job_id for line in notes(folder, what))


def told(place: Place, word: str) -> bool:
    """Tell whether the test said ``word``, to all or to this process alone."""
    return (place.folder / word).exists() or (place.folder / f"{word}-{os.getpid()}").exists()


@job("fault.work", retry=RetryPolicy(max_attempts=9, base=_SOON, cap=_SOON, on=(ConnectionError,)))
async def work(ctx: JobContext, payload: Work) -> int:
    """Take a while; return the process that ran it."""
    note(payload, "begin", ctx)
    if ctx.attempt <= payload.failures:
        raise ConnectionError("as asked")
    await asyncio.sleep(payload.seconds)
    note(payload, "end", ctx)
    return os.getpid()


@job("fault.hold")
async def hold(ctx: JobContext, payload: Place) -> int:
    """Go on until told to ``finish``; return the process that ran it."""
    note(payload, "begin", ctx)
    try:
        while not told(payload, "finish"):  # noqa: ASYNC110 - a test's file
            await asyncio.sleep(_LOOK_S)
    except asyncio.CancelledError:
        note(payload, "cancelled", ctx)
        raise
    note(payload, "end", ctx)
    return os.getpid()


@job("fault.tidy")
async def tidy(ctx: JobContext, payload: Place) -> None:
    """Go on until cancelled; then clean up until told that it is ``tidied``."""
    try:
        await asyncio.Event().wait()
    finally:
        note(payload, "cancelled", ctx)
        while not told(payload, "tidied"):  # noqa: ASYNC110 - a test's file
            await asyncio.sleep(_LOOK_S)
        note(payload, "tidied", ctx)


@job("fault.deaf")
async def deaf(ctx: JobContext, payload: Place) -> None:
    """Do not end when told to; only at ``finish``."""
    note(payload, "begin", ctx)
    while not told(payload, "finish"):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(_LOOK_S)
    note(payload, "end", ctx)


@job("fault.block")
async def block(ctx: JobContext, payload: Work) -> int:
    """Block the event loop of the process that runs it first, for so long or, at 0 seconds, until ``finish``."""
    note(payload, "begin", ctx)
    if payload.seconds:
        time.sleep(payload.seconds)  # noqa: ASYNC251 - the point
    elif len(notes(payload.folder, "begin")) == 1:
        while not told(payload, "finish"):
            time.sleep(_LOOK_S)  # noqa: ASYNC251 - the point
    note(payload, "end", ctx)
    return os.getpid()


@job("fault.zombie")
async def zombie(ctx: JobContext, payload: Place) -> int:
    """Wait for ``finish``, then write all that a job can write, whatever anybody says meanwhile."""

    async def store() -> int:
        return os.getpid()

    note(payload, "begin", ctx)
    while not told(payload, "finish"):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(_LOOK_S)
    with suppress(asyncio.CancelledError):
        await ctx.progress(os.getpid(), None, "written by this process")
    while True:
        with suppress(asyncio.CancelledError):
            try:
                await ctx.step(f"store-{os.getpid()}", store)  # a name of its own: nothing to find
                note(payload, "kept", ctx)
            except LeaseLost:
                note(payload, "refused", ctx)
            break
    return os.getpid()


@job("fault.poison")
async def poison(ctx: JobContext, payload: Work) -> None:
    """Take a while; then kill the process."""
    note(payload, "begin", ctx)
    await asyncio.sleep(payload.seconds)
    os.kill(os.getpid(), SIGKILL)


JOBS = Registry([work, hold, tidy, deaf, block, zombie, poison])
