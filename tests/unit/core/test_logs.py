"""Log lines: a sentence and named fields, each task its own."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from arqway.workers.logs import ConsoleFormatter, JsonFormatter, bind

_PROGRAM = """import logging; logging.basicConfig()
from arqway.workers.logs import configure_logs; configure_logs({!r}, {!r}); {}"""


def record(message: str = "Attempt %s", *args: object, extra: dict[str, Any] | None = None) -> logging.LogRecord:
    """Return what a logger hands to a formatter."""
    logger = logging.getLogger("arqway.workers.test")
    return logger.makeRecord(logger.name, logging.WARNING, "file", 1, message, args, caught(), extra=extra)


def caught() -> Any:
    """Return the exception that is being handled, or None."""
    return sys.exc_info() if sys.exception() else None


def fail() -> None:
    """Raise."""
    raise LookupError("gone")


def as_json(*args: object, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON line of a record, read back."""
    line = JsonFormatter().format(record("Attempt %s", *args, extra=extra))
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def logged(level: str, style: str, statement: str) -> str:
    """Return what a program wrote to stderr that configured its logs so, in place of another configuration."""
    program = _PROGRAM.format(level, style, statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(autouse=True)
def _own_context() -> Iterator[None]:
    """What a test that is no task binds, the next one does not see."""
    context = copy_context()
    yield
    for variable, value in context.items():
        variable.set(value)


def test_a_line_has_the_named_fields() -> None:
    """A JSON line says when, how bad, who, what, and the fields of the call."""
    line = as_json("failed", extra={"job_id": "j1", "ran_s": 0.5})
    at = datetime.fromisoformat(line.pop("at"))
    assert at.tzinfo is not None
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    standard = {"level": "warning", "logger": "arqway.workers.test", "message": "Attempt failed"}
    assert line == standard | {"job_id": "j1", "ran_s": 0.5}


async def test_bound_fields_stand_on_every_line() -> None:
    """What was bound is on each later line; the call's own field wins over a bound one."""
    bind(job_id="j1", kind="k")
    bind(attempt=2)
    line = as_json("failed", extra={"kind": "other"})
    assert (line["job_id"], line["kind"], line["attempt"]) == ("j1", "other", 2)


async def test_bound_fields_do_not_leak_between_tasks() -> None:
    """Tasks that run side by side each see their own job, and the task that started them sees neither."""
    both = asyncio.Barrier(2)

    async def run(job_id: str) -> object:
        bind(job_id=job_id)
        await both.wait()
        return as_json("x")["job_id"]

    assert list(await asyncio.gather(run("a"), run("b"))) == ["a", "b"]
    assert "job_id" not in as_json("x")


async def test_a_task_inherits_what_was_bound() -> None:
    """Lines of the tasks that a job starts name the job."""
    bind(job_id="outer")

    async def inner() -> object:
        return as_json("x")["job_id"]

    assert await asyncio.create_task(inner()) == "outer"


def test_the_standard_fields_cannot_be_overwritten() -> None:
    """A field called like a part of every line does not take its place."""
    line = as_json("failed", extra={"level": "fine", "at": "never", "logger": "nobody"})
    assert (line["level"], line["logger"]) == ("warning", "arqway.workers.test")


@pytest.mark.parametrize("value", [Path("a"), {1, 2}, object(), b"x", "line\nline", (1,)])
def test_any_value_can_be_logged(value: object) -> None:
    """A field that is no JSON is written as text, on the same line."""
    assert as_json("x", extra={"field": value})["field"]


def test_an_exception_is_part_of_its_line() -> None:
    """The traceback is a field, so a line stays one line."""
    try:
        fail()
    except LookupError:
        line = as_json("failed")
    assert "LookupError: gone" in line["exception"]
    assert "exception" not in as_json("failed")


def test_the_console_form_is_a_readable_line() -> None:
    """Time, level, sentence, then the fields."""
    line = ConsoleFormatter().format(record("Attempt %s", "failed", extra={"job_id": "j1"}))
    at, rest = line.split(" ", 1)
    assert len(at) == len("00:00:00")
    assert rest == "warning Attempt failed  job_id=j1"


def test_the_console_form_has_the_traceback_below() -> None:
    """A person reads the traceback as Python prints it; a line without fields ends with its sentence."""
    try:
        fail()
    except LookupError:
        lines = ConsoleFormatter().format(record("Failed")).splitlines()
    assert lines[0].endswith("warning Failed")
    assert (lines[1], lines[-1]) == ("Traceback (most recent call last):", "LookupError: gone")


def test_off_a_terminal_logs_are_json() -> None:
    """``auto`` writes JSON to a pipe, with the level asked for and up."""
    lines = logged("info", "auto", "logging.debug('low'); logging.info('high')").splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["high"]


def test_the_console_form_can_be_asked_for() -> None:
    """``console`` writes for people, into a pipe too."""
    assert logged("debug", "console", "logging.debug('low')").rstrip().endswith("debug   low")


@pytest.mark.parametrize("chatty", ["httpx", "httpcore", "matplotlib", "fontTools"])
def test_libraries_that_talk_much_are_kept_quiet(chatty: str) -> None:
    """Other people's libraries say warnings and worse only."""
    said = logged("debug", "json", f"l = logging.getLogger({chatty!r}); l.info('chat'); l.warning('fire')")
    assert [json.loads(line)["message"] for line in said.splitlines()] == ["fire"]
