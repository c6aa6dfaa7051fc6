"""The terminal: what is printed there, and the error that ends a command early."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

WRONG_INPUT = 2
FAILED = 1
INTERRUPTED = 130


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


def say_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a heading, with each column as wide as its widest cell. Empty cells are shown as dashes."""
    cells = [list(heading), *([_cell(text) for text in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(ms: int | None) -> str:
    """Format Unix milliseconds as UTC, to the second; empty for None."""
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _cell(text: str) -> str:
    """Return the text of a cell, with control characters escaped."""
    return (text if text.isprintable() else ascii(text)) or "-"
