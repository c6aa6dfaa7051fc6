"""The commands: their arguments and the functions that run them."""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from arqway.service.cli.arguments import a_life_s, a_number, a_target
from arqway.service.cli.client_commands import add_client_commands
from arqway.service.cli.terminal import WRONG_INPUT, CommandError

PROCESSES_MAX = 256
ENTRIES_MAX = 10_000
SCOPES = ("submit", "read", "operate")


class Call(NamedTuple):
    """A parsed command line."""

    command: Callable[[argparse.Namespace], int]
    arguments: argparse.Namespace

    def run(self) -> int:
        """Run the command and return its exit code."""
        from arqway.service.cli.variables import refuse_unknown_variables

        refuse_unknown_variables(os.environ)
        return self.command(self.arguments)


def parse(arguments: Sequence[str]) -> Call:
    """Parse a command line. Raises CommandError, or SystemExit(0) after printing help or the version."""
    parsed = _parser().parse_args(arguments)
    return Call(parsed.command, parsed)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)", WRONG_INPUT)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        from arqway.service.cli.terminal import say

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

    up = add("up", _up, "run the server, the API and a worker until Ctrl-C")
    add("demo", _demo, "make one report from start to PDF, showing how it goes")
    api = add("api", _api, "run the API alone")
    for option, kind in (("--lifeline", int), ("--port", int), ("--redis-url", str)):  # for the API of a stack
        api.add_argument(option, type=kind, help=argparse.SUPPRESS)
    worker = add("worker", _worker, "run workers alone, each in a process that is started again when it dies")
    worker.add_argument(
        "--processes", type=a_number(PROCESSES_MAX), metavar="N", help="how many (ARQWAY_PROCESSES, or 1)"
    )
    worker.add_argument("--arq", metavar="NAME", help="run a stock arq WorkerSettings, as it is: module.WorkerSettings")
    worker.add_argument("--fail-pickled", action="store_true", help="start although pickled jobs wait: each will fail")
    convert = add("convert", _convert, "turn the waiting jobs of a pickling arq producer into JSON, once")
    convert.add_argument("--pickle", action="store_true", help="yes, read pickles: nobody else can write to this Redis")
    convert.add_argument("--queue", metavar="KEY", help="of this queue only, as arq's queue_name has it")
    convert.add_argument("--dry-run", action="store_true", help="change nothing, and tell what would be done")
    doctor = add("doctor", _doctor, "check the settings, the server, the jobs and the home folder")
    for command in (up, api, worker, doctor):
        target = command.add_argument("target", nargs="?", type=a_target, metavar="TARGET")
        target.help = "the registry, or the Arqway object: package.module:NAME (ARQWAY_JOBS)"
    for command in (up, api, worker):
        command.add_argument("--reload", action="store_true", help="restart it when a Python file changes here")
    add_client_commands(add)
    _add_keys(add("keys", _keys_create, "make, list and revoke API keys, beside Redis"))
    audit = add("audit", _audit, "print what operators did")
    audit.add_argument("--last", type=a_number(ENTRIES_MAX), default=20, metavar="N", help="how many entries (20)")
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    create = actions.add_parser("create", help="make a key and print its token, which nobody can see again")
    create.set_defaults(command=_keys_create)
    create.add_argument("--name", required=True, metavar="NAME", help="what people call it")
    create.add_argument("--tenant", default="default", metavar="TENANT", help="whose jobs it sees (default)")
    scope = create.add_argument("--scope", action="append", choices=SCOPES, dest="scopes")
    scope.help = "what it allows; may be given again (submit and read)"
    create.add_argument("--rate", type=float, metavar="PER_S", help="requests a second (ARQWAY_RATE_LIMIT, or any)")
    create.add_argument("--burst", type=int, metavar="N", help="requests at once (what --rate allows in a second)")
    create.add_argument("--expires-in", type=a_life_s, metavar="TIME", help="e.g. 90d, 12h (until it is revoked)")
    create.add_argument("--if-none", action="store_true", help="only if there is no key that can be used")
    listing = actions.add_parser("list", help="list the keys, without their secrets")
    listing.set_defaults(command=_keys_list)
    revoke = actions.add_parser("revoke", help="make a key unusable within 5 seconds")
    revoke.set_defaults(command=_keys_revoke)
    revoke.add_argument("id", metavar="ID", help="what `arqway keys list` shows first")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "".join(action.format_usage() for action in (create, listing, revoke))


def _up(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.up import up

    return up(arguments.target, reload=arguments.reload)


def _demo(_: argparse.Namespace) -> int:
    from arqway.service.cli.demo import demo

    return demo()


def _api(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.parts import run_api

    return run_api(arguments)


def _worker(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.parts import run_worker

    return run_worker(arguments)


def _convert(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.convert import convert

    return convert(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.doctor import doctor

    return doctor(arguments.target)


def _keys_create(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.keys import create

    return create(arguments)


def _keys_list(_: argparse.Namespace) -> int:
    from arqway.service.cli.keys import list_keys

    return list_keys()


def _keys_revoke(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.keys import revoke

    return revoke(arguments.id)


def _audit(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.operations import audit

    return audit(arguments.last)
