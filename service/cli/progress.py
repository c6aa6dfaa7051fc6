"""A job's progress for people: a live bar on a terminal, elsewhere a line for each change."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arqway.service.cli.api_client import Show
from arqway.service.cli.terminal import say
from arqway.service.client import Job


@contextmanager
def progress_view() -> Iterator[Show]:
    """Yield a function that shows the current state of a job."""
    if not sys.stdout.isatty():
        yield _plain_lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[state]:<9}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=None, state="", count="", note="")

        def show(job: Job[Any]) -> None:
            current, total, _ = _progress(job)
            if job.succeeded:
                current = total = total or 1
            progress.update(bar, completed=current, total=total, state=job.state, count=_count(job), note=_note(job))

        yield show


def _plain_lines() -> Show:
    shown = ""

    def show(job: Job[Any]) -> None:
        nonlocal shown
        line = "  ".join(filter(None, (f"{job.state:<9}", _count(job), _note(job)))).rstrip()
        if line != shown:
            say(line)
            shown = line

    return show


def _progress(job: Job[Any]) -> tuple[float, float | None, str]:
    progress = job.progress
    return (progress.current, progress.total, progress.message or "") if progress else (0, None, "")


def _count(job: Job[Any]) -> str:
    current, total, _ = _progress(job)
    return f"{current:g}/{total:g}" if total else f"{current:g}" if current else ""


def _note(job: Job[Any]) -> str:
    _, _, message = _progress(job)
    if failure := job.failure:
        message = f"{failure.message} ({failure.code})"
    attempt = f"attempt {job.attempt} of {job.max_attempts}" if job.attempt > 1 else ""
    return "  ".join(filter(None, (message, attempt)))
