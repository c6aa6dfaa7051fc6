"""The terminal: what is printed there, a job's progress included, and the error that ends a command early."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arqway.service.client import Job

WRONG_INPUT = 2
FAILED = 1
INTERRUPTED = 130
Show = Callable[["Job[Any]"], None]


class CommandError(Exception):
    """The command cannot continue; ``main`` prints the reason and exits with the code.

    Args:
        reason: One line for the user.
        code: ``WRONG_INPUT`` if other arguments or settings would help, else ``FAILED``.
        speaker: The prefix of the line.
    """

    def __init__(self, reason: str, code: int = FAILED, *, speaker: str = "arqway") -> None:
        super().__init__(reason)
        self.code = code
        self.speaker = speaker


def say(line: str = "") -> None:
    """Print a line and flush it, so that it appears at once even in a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str, *, speaker: str = "arqway") -> None:
    """Print a line about something unexpected to stderr."""
    sys.stderr.write(f"{speaker}: {line}\n")
    sys.stderr.flush()


def say_table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below a heading, with each column as wide as its widest cell.

    None and empty cells are shown as dashes, and control characters are escaped.
    """
    cells = [list(heading), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return (text if text.isprintable() else ascii(text)) or "-"


def moment(ms: int | None) -> str:
    """Format Unix milliseconds as UTC, to the second; empty for None."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def progress_view() -> Iterator[Show]:
    """Yield a function that shows a job's state and progress: as a live bar on a terminal, else a line per change."""
    if not sys.stdout.isatty():
        yield _plain_lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    note_column = TextColumn("{task.fields[note]}", markup=False)
    columns = ("{task.fields[state]:<9}", BarColumn(), "{task.fields[count]}", TimeElapsedColumn(), note_column)
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=None, state="", count="", note="")

        def show(job: "Job[Any]") -> None:
            current, total = (job.progress.current, job.progress.total) if job.progress else (0, None)
            if job.succeeded:
                current = total = total or 1
            count, note = _described(job)
            progress.update(bar, completed=current, total=total, state=job.state, count=count, note=note)

        yield show


def _plain_lines() -> Show:
    shown = ""

    def show(job: "Job[Any]") -> None:
        nonlocal shown
        line = "  ".join(filter(None, (f"{job.state:<9}", *_described(job)))).rstrip()
        if line != shown:
            say(line)
            shown = line

    return show


def _described(job: "Job[Any]") -> tuple[str, str]:
    """Return how far a job has come, and its latest message or failure."""
    count = note = ""
    if progress := job.progress:
        note = progress.message or ""
        if progress.total or progress.current:
            count = f"{progress.current:g}" + (f"/{progress.total:g}" if progress.total else "")
    if failure := job.failure:
        note = f"{failure.message} ({failure.code})"
    attempt = f"attempt {job.attempt} of {job.max_attempts}" if job.attempt > 1 else ""
    return count, "  ".join(filter(None, (note, attempt)))
