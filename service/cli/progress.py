"""A job's progress for a person: a live bar on a terminal, a line for each change elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.cli.api_client import JobView
from service.cli.output import say

Show = Callable[[JobView], None]


@contextmanager
def progress_view() -> Iterator[Show]:
    """Give the function that shows a job's present view."""
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

        def show(view: JobView) -> None:
            current, total, _ = _progress(view)
            if view["state"] == "succeeded":
                current = total = total or 1
            progress.update(
                bar, completed=current, total=total, state=view["state"], count=_count(view), note=_note(view)
            )

        yield show


def _plain_lines() -> Show:
    shown = ""

    def show(view: JobView) -> None:
        nonlocal shown
        line = "  ".join(filter(None, (f"{view['state']:<9}", _count(view), _note(view)))).rstrip()
        if line != shown:
            say(line)
            shown = line

    return show


def _progress(view: JobView) -> tuple[float, float | None, str]:
    progress = view.get("progress") or {}
    return progress.get("current") or 0, progress.get("total"), progress.get("message") or ""


def _count(view: JobView) -> str:
    current, total, _ = _progress(view)
    return f"{current:g}/{total:g}" if total else f"{current:g}" if current else ""


def _note(view: JobView) -> str:
    _, _, message = _progress(view)
    if failure := view.get("failure"):
        message = f"{failure['message']} ({failure['code']})"
    attempt = f"attempt {view['attempt']} of {view['max_attempts']}" if view["attempt"] > 1 else ""
    return "  ".join(filter(None, (message, attempt)))
