"""The commands: their options, how an argument is parsed, and the functions that run them."""

import argparse
import json
import os
import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pkgutil import resolve_name
from typing import Any, NoReturn, TypeAlias

from arqway.service.cli.terminal import WRONG_INPUT, CommandError, say

DEFAULT_URL = "http://127.0.0.1:8000"
STATES = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")
PROCESSES_MAX = 256
ENTRIES_MAX = JOBS_MAX = REDRIVE_MAX = 10_000

_DURATION = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([smhd]?)")
_LIFE = re.compile(r"[0-9]{1,5}[smhd]")
_TARGET = re.compile(r"\w+(\.\w+)*:\w+")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Option = tuple[str, dict[str, Any]]
Commands: TypeAlias = "argparse._SubParsersAction[Any]"


def run(arguments: Sequence[str] | None) -> int:
    """Run the command of a command line, by default this process's own, and return its exit code.

    Raises:
        CommandError: The command line cannot be parsed, or the command failed.
        SystemExit: Help or the version was printed.
    """
    parsed = _parser().parse_args(arguments)
    from arqway.service.cli.environment import refuse_unknown_variables

    refuse_unknown_variables()
    code: int | None = resolve_name(f"{__package__}.{parsed.function.replace('.', ':')}")(parsed)
    return code or 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)", WRONG_INPUT)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        say(f"arqway {version('arqway')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="arqway", description="Durable background jobs for FastAPI, on arq and Redis.")
    parser.add_argument("--version", nargs=0, action=_Version, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_process_commands(commands)
    _add_client_commands(commands)
    _add_key_commands(commands)
    return parser


def _add(commands: Commands, name: str, function: str, summary: str, *options: Option) -> argparse.ArgumentParser:
    """Add a command; ``function`` is the ``module.name`` of the one that runs it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    parser.set_defaults(function=function)
    for option, settings in options:
        parser.add_argument(option, **settings)
    return parser


def _option(name: str, meaning: str, metavar: str | None = None, **settings: Any) -> Option:
    return name, {"help": meaning, "metavar": metavar, **settings}


def _flag(name: str, meaning: str) -> Option:
    return name, {"help": meaning, "action": "store_true"}


def _add_process_commands(commands: Commands) -> None:
    target = _option("target", "the registry or Arqway object: package.module:NAME (ARQWAY_JOBS)", "TARGET")
    target[1].update(nargs="?", type=a_target)
    started = (target, _flag("--reload", "restart it when a Python file in this folder changes"))
    types = {"--lifeline": int, "--port": int, "--redis-url": str}
    of_stack = [_option(name, argparse.SUPPRESS, type=kind) for name, kind in types.items()]  # for the API of a stack
    of_worker = [
        _option("--processes", "how many (ARQWAY_PROCESSES, or 1)", "N", type=a_number(PROCESSES_MAX)),
        _option("--arq", "run a stock arq WorkerSettings unchanged: module.WorkerSettings", "NAME"),
        _flag("--fail-pickled", "start even if pickled jobs are waiting, each of which will fail"),
    ]
    of_convert = [
        _flag("--pickle", "read pickles; only safe if nobody else can write to this Redis"),
        _option("--queue", "only this queue, named as in arq's queue_name", "KEY"),
        _flag("--dry-run", "change nothing, and print what would be done"),
    ]
    _add(commands, "up", "up.up", "run the server, the API and a worker until Ctrl-C", *started)
    _add(commands, "demo", "demo.demo", "make one report from start to PDF, showing its progress")
    _add(commands, "api", "up.api", "run the API alone", *of_stack, *started)
    summary = "run workers alone, each in a process that is restarted when it dies"
    _add(commands, "worker", "up.worker", summary, *of_worker, *started)
    summary = "convert the waiting jobs of a pickling arq producer to JSON, once"
    _add(commands, "convert", "convert.convert", summary, *of_convert)
    _add(commands, "doctor", "doctor.doctor", "check the settings, the server, the jobs and the home folder", target)


def _add_client_commands(commands: Commands) -> None:
    default_url = os.environ.get("ARQWAY_URL", DEFAULT_URL)
    url = _option("--url", f"the API (ARQWAY_URL, or {DEFAULT_URL})", default=default_url, type=an_http_url)
    job = _option("id", "as `arqway submit` prints it", "ID")
    queue = _option("name", "name of the queue, as `arqway queues` prints it", "NAME")
    filters = [_option("--fingerprint", "only this fingerprint of a failure, as `arqway dead` prints it", "F")]
    filters += [_option(f"--{name}", f"only this {name}", name.upper()) for name in ("kind", "queue", "tag", "batch")]
    of_submit = [
        _option("kind", "e.g. report.generate", "KIND"),
        _option("payload", """e.g. '{"user_id": 14048}'""", "PAYLOAD_JSON", type=a_json),
        _option("--delay", "start no earlier than this long from now, e.g. 90s, 15m", "DURATION", type=a_duration),
        _option("--run-at", "start no earlier than this, e.g. 2026-03-01T09:30:00Z", "TIME", type=a_time),
        _option("--queue", "one of the kind's queues (its first)", "NAME"),
        _option("--tag", "label to find the job by; may be repeated", "WORD", action="append", dest="tags"),
        _option("--unique-key", "refuse the job while an unfinished job of this kind has the same key", "WORD"),
        _option("--deadline", "no attempt starts or continues after this", "TIME", type=a_time),
        _option("--callback-url", "URL that is notified when the job has ended", "URL"),
        _option("--idempotency-key", "names this call, so that repeating it submits no second job", "KEY"),
        _option(
            "--wait", "wait this long, and print the result, too; exit 1 if there is none", "DURATION", type=a_duration
        ),
    ]
    of_dead = [
        _flag("--redrive", "submit matching dead letters again (all)"),
        _flag("--dry-run", "with --redrive: only count them"),
        *filters,
        _option("--limit", "with --redrive: at most this many", "N", type=a_number(REDRIVE_MAX)),
        _option("--rate", "with --redrive: this many per second (all at once)", "PER_S", type=float),
    ]
    state = _option("--state", ", ".join(STATES), "STATE", choices=STATES)
    limit = _option("--limit", "how many (20)", "N", type=a_number(JOBS_MAX), default=20)
    other = _option("--payload", "another payload (its own)", "JSON", type=a_json)
    progress = "show a job's progress until it ends; exit 0 if it succeeds, else 1"
    _add(commands, "submit", "jobs.submit", "submit a job and print its id", *of_submit, url)
    _add(commands, "status", "jobs.status", "print everything known about a job, as JSON", job, url)
    _add(commands, "watch", "jobs.watch", progress, job, url)
    _add(commands, "cancel", "jobs.cancel", "cancel a job", job, url)
    _add(commands, "retry", "jobs.retry", "submit a finished job again and print the new id", job, other, url)
    _add(commands, "list", "jobs.list_jobs", "list jobs, the latest first", state, *filters, limit, url)
    _add(commands, "queues", "jobs.queues", "print the figures of every queue", url)
    _add(commands, "pause", "jobs.pause", "stop starting the jobs of a queue; running jobs continue", queue, url)
    _add(commands, "resume", "jobs.resume", "start the jobs of a paused queue again", queue, url)
    _add(commands, "dead", "jobs.dead", "print dead letters by cause, or submit them again", *of_dead, url)


def _add_key_commands(commands: Commands) -> None:
    allowed = "what it allows; may be repeated (submit and read)"
    of_create = [
        _option("--name", "name of the key, for people", "NAME", required=True),
        _option("--tenant", "tenant whose jobs it sees (default)", "TENANT", default="default"),
        _option("--scope", allowed, action="append", choices=("submit", "read", "operate"), dest="scopes"),
        _option("--rate", "requests per second (ARQWAY_RATE_LIMIT, or unlimited)", "PER_S", type=float),
        _option("--burst", "requests at once (what --rate allows in a second)", "N", type=int),
        _option("--expires-in", "lifetime, e.g. 90d, 12h (unlimited)", "DURATION", type=a_life),
        _flag("--if-none", "only if there is no usable key"),
    ]
    key = _option("id", "as `arqway keys list` prints it", "ID")
    last = _option("--last", "how many entries (20)", "N", type=a_number(ENTRIES_MAX), default=20)
    keys = _add(commands, "keys", "", "make, list and revoke API keys, directly in Redis")
    actions = keys.add_subparsers(metavar="ACTION", required=True, title="actions")
    made = "make a key and print its token, which cannot be shown again"
    added = [
        _add(actions, "create", "keys.create", made, *of_create),
        _add(actions, "list", "keys.list_keys", "list the keys, without their secrets"),
        _add(actions, "revoke", "keys.revoke", "make a key unusable within 5 seconds", key),
    ]
    keys.formatter_class = argparse.RawDescriptionHelpFormatter
    keys.epilog = "".join(action.format_usage() for action in added)
    _add(commands, "audit", "keys.audit", "print what operators did", last)


def a_json(text: str) -> str:
    """Validate JSON, and return the text unchanged."""
    try:
        json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from None
    return text


def a_number(most: int) -> Callable[[str], int]:
    """Return a parser for numbers from 1 to ``most``."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
            raise ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return read


def a_duration(text: str) -> timedelta:
    """Parse a duration like ``15m``, or a bare number of seconds."""
    read = _DURATION.fullmatch(text)
    if read is None:
        raise ArgumentTypeError(f"{text!r} is not a duration like 90s, 15m, 12h or 2d")
    return timedelta(**{_UNITS[read[2]]: float(read[1])})


def a_life(text: str) -> timedelta:
    """Parse a positive duration like ``90d``. A unit is required: a bare number might be meant as days."""
    if not _LIFE.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a duration like 90d, 12h, 30m or 45s")
    if not (life := a_duration(text)):
        raise ArgumentTypeError("a key cannot expire at once")
    return life


def a_time(text: str) -> datetime:
    """Parse an ISO 8601 time with a time zone; without one, it would mean something else on another machine."""
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time
    raise ArgumentTypeError(f"{text!r} is not a time with a time zone, like 2026-03-01T09:30:00Z")


def a_target(text: str) -> str:
    """Validate the name of a registry, or of an object that has one: ``package.module:NAME``."""
    if not _TARGET.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not package.module:NAME")
    return text


def an_http_url(text: str) -> str:
    """Validate an HTTP URL, and return it without a trailing slash."""
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"{text!r} does not start with http:// or https://")
    return text.rstrip("/")
