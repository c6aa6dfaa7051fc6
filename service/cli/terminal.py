"""The terminal: what a person reads there, and why a command ends early."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

WRONG_INPUT = 2
FAILED = 1
INTERRUPTED = 130


class CommandError(Exception):
    """The command cannot go on; ``main`` prints the one line and leaves with the code.

    Args:
        reason: One line for the person at the terminal.
        code: ``WRONG_INPUT`` where other arguments or settings would help, else ``FAILED``.
        speaker: What the line begins with.
    """

    def __init__(self, reason: str, code: int = FAILED, *, speaker: str = "arqway") -> None:
        super().__init__(reason)
        self.code = code
        self.speaker = speaker


def say(line: str = "") -> None:
    """Print a line now, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str, *, speaker: str = "arqway") -> None:
    """Print a line about something unexpected, on stderr."""
    sys.stderr.write(f"{speaker}: {line}\n")
    sys.stderr.flush()


def say_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heading, each column as wide as its widest cell; an empty cell shows as a dash."""
    cells = [list(heading), *([_cell(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(ms: int | None) -> str:
    """Write Unix milliseconds in UTC, to the second; empty for None."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cell(text: str) -> str:
    """Return what a cell shows; what a terminal would act upon is spelled out."""
    return (text if text.isprintable() else ascii(text)) or "-"
