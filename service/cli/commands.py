"""The commands, their arguments, and where each one lives."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from service.cli.errors import WRONG_INPUT, CommandError

DEFAULT_URL = "http://127.0.0.1:8000"
PROCESSES_MAX = 256


class Call(NamedTuple):
    """A parsed command line."""

    command: Callable[[argparse.Namespace], int]
    arguments: argparse.Namespace

    def run(self) -> int:
        """Return the exit code."""
        from service.cli.variables import refuse_unknown_variables

        refuse_unknown_variables(os.environ)
        return self.command(self.arguments)


def parse(arguments: Sequence[str]) -> Call:
    """Read a command line. Raises CommandError, or SystemExit(0) after printing help or the version."""
    parsed = _parser().parse_args(arguments)
    return Call(parsed.command, parsed)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)", WRONG_INPUT)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        from service.cli.output import say

        say(f"arqway {version('arqway')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="arqway", description="Durable background jobs for FastAPI, on arq and Redis.")
    parser.add_argument("--version", nargs=0, action=_Version, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        added.set_defaults(command=command)
        return added

    add("up", _up, "run the server, the API and a worker until Ctrl-C")
    add("demo", _demo, "make one report from start to PDF, showing how it goes")
    add("api", _api, "run the API alone").add_argument("--lifeline", type=int, metavar="FD", help=argparse.SUPPRESS)
    worker = add("worker", _worker, "run workers alone, each in a process that is started again when it dies")
    worker.add_argument("--processes", type=_count, metavar="N", help="how many (ARQWAY_PROCESSES, or 1)")
    submit = add("submit", _submit, "submit a job and print its id")
    submit.add_argument("kind", metavar="KIND", help="e.g. report.generate")
    submit.add_argument("payload", metavar="PAYLOAD_JSON", type=_json, help="""e.g. '{"user_id": 14048}'""")
    _add_url(submit)
    for name, command, summary in (
        ("status", _status, "print what is known about a job, as JSON"),
        ("watch", _watch, "show a job's progress until it ends; exit 0 if it succeeds, else 1"),
        ("cancel", _cancel, "cancel a job"),
    ):
        one_job = add(name, command, summary)
        one_job.add_argument("id", metavar="ID", help="what `arqway submit` printed")
        _add_url(one_job)
    add("doctor", _doctor, "check the settings, the server, the jobs and the home folder")
    return parser


def _add_url(parser: argparse.ArgumentParser) -> None:
    url = os.environ.get("ARQWAY_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, type=_http_url, help=f"the API (ARQWAY_URL, or {DEFAULT_URL})")


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= PROCESSES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {PROCESSES_MAX}")
    return int(text)


def _http_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not start with http:// or https://")
    return text.rstrip("/")


def _up(_: argparse.Namespace) -> int:
    from service.cli.up import up

    return up()


def _demo(_: argparse.Namespace) -> int:
    from service.cli.demo import demo

    return demo()


def _api(arguments: argparse.Namespace) -> int:
    from service.cli.parts import run_api

    return run_api(arguments.lifeline)


def _worker(arguments: argparse.Namespace) -> int:
    from service.cli.parts import run_worker

    return run_worker(arguments.processes)


def _submit(arguments: argparse.Namespace) -> int:
    from service.cli.jobs import submit

    return submit(arguments.url, arguments.kind, arguments.payload)


def _status(arguments: argparse.Namespace) -> int:
    from service.cli.jobs import status

    return status(arguments.url, arguments.id)


def _watch(arguments: argparse.Namespace) -> int:
    from service.cli.jobs import watch

    return watch(arguments.url, arguments.id)


def _cancel(arguments: argparse.Namespace) -> int:
    from service.cli.jobs import cancel

    return cancel(arguments.url, arguments.id)


def _doctor(_: argparse.Namespace) -> int:
    from service.cli.doctor import doctor

    return doctor()
