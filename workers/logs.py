"""Structured logging: a message and named fields, as JSON lines or formatted for a terminal.

Fields come from ``extra={…}`` and ``bind(job_id=…, kind=…, attempt=…)``. Payloads and results are never logged.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

_BOUND: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - replaced, never changed in place
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def bind(**values: Any) -> None:
    """Add ``values`` to every line logged from now on by the current task and the tasks it starts."""
    _BOUND.set({**_BOUND.get(), **values})


def configure_logs(level: str, style: Literal["auto", "json", "console"]) -> None:
    """Send all logs of this process to stderr, replacing any earlier configuration."""
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "matplotlib", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _named_fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**_BOUND.get(), **extra}


class JsonFormatter(logging.Formatter):
    """Writes one JSON object per line: ``at``, ``level``, ``logger``, ``message``, named fields, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line = {**_named_fields(record), **line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleFormatter(logging.Formatter):
    """Writes one readable line: time, level, message, ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        named = " ".join(f"{name}={value}" for name, value in _named_fields(record).items())
        line = f"{at} {record.levelname.lower():<7} {record.getMessage()}" + (f"  {named}" if named else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
