"""The commands that talk to an API: their arguments and the functions that run them."""

import argparse
import os
from collections.abc import Callable

from arqway.service.cli.arguments import a_duration_s, a_json, a_moment, a_number, an_http_url

DEFAULT_URL = "http://127.0.0.1:8000"
STATES = ("scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled")
JOBS_MAX, REDRIVE_MAX = 10_000, 10_000

Command = Callable[[argparse.Namespace], int]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def add_client_commands(add: Add) -> None:
    """Add these commands to the parser."""
    _add_submit(add("submit", _submit, "submit a job and print its id"))
    for name, command, summary in (
        ("status", _status, "print what is known about a job, as JSON"),
        ("watch", _watch, "show a job's progress until it ends; exit 0 if it succeeds, else 1"),
        ("cancel", _cancel, "cancel a job"),
        ("retry", _retry, "submit an ended job again and print the new id"),
    ):
        one_job = add(name, command, summary)
        one_job.add_argument("id", metavar="ID", help="what `arqway submit` printed")
        _add_url(one_job)
        if name == "retry":
            one_job.add_argument("--payload", metavar="JSON", type=a_json, help="another payload (its own)")
    _add_list(add("list", _list, "list jobs, the latest first"))
    _add_url(add("queues", _queues, "print how the queues are"))
    for name, command, summary in (
        ("pause", _pause, "let no job of a queue begin"),
        ("resume", _resume, "let the jobs of a paused queue begin again"),
    ):
        one_queue = add(name, command, summary)
        one_queue.add_argument("name", metavar="NAME", help="the queue, as `arqway queues` names it")
        _add_url(one_queue)
    _add_dead(add("dead", _dead, "print what failed for good, by cause; or submit it again"))


def _add_submit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help="e.g. report.generate")
    parser.add_argument("payload", metavar="PAYLOAD_JSON", type=a_json, help="""e.g. '{"user_id": 14048}'""")
    delay = parser.add_argument("--delay", type=a_duration_s, metavar="TIME")
    delay.help = "start no sooner than this from now, e.g. 90s, 15m"
    parser.add_argument("--run-at", type=a_moment, metavar="MOMENT", help="start no sooner, e.g. 2026-03-01T09:30:00Z")
    parser.add_argument("--queue", metavar="NAME", help="one of the queues that the kind allows (its first)")
    parser.add_argument("--tag", action="append", metavar="WORD", help="to find the job by; may be given again")
    unique_key = parser.add_argument("--unique-key", metavar="WORD")
    unique_key.help = "refuse it while another job of this kind with this key has not ended"
    parser.add_argument("--deadline", type=a_moment, metavar="MOMENT", help="no attempt begins or goes on afterwards")
    parser.add_argument("--callback-url", metavar="URL", help="where to tell of its end")
    parser.add_argument("--idempotency-key", metavar="KEY", help="names this call: repeated, it makes no second job")
    wait = parser.add_argument("--wait", type=a_duration_s, metavar="TIME")
    wait.help = "wait so long and print its result, too; exit 1 if there is none"
    _add_url(parser)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=STATES, metavar="STATE", help=", ".join(STATES))
    _add_filters(parser)
    parser.add_argument("--limit", type=a_number(JOBS_MAX), default=20, metavar="N", help="how many (20)")
    _add_url(parser)


def _add_dead(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--redrive", action="store_true", help="submit those that match again, or all")
    parser.add_argument("--dry-run", action="store_true", help="with --redrive: only count them")
    _add_filters(parser)
    parser.add_argument("--limit", type=a_number(REDRIVE_MAX), metavar="N", help="with --redrive: so many at most")
    parser.add_argument("--rate", type=float, metavar="PER_S", help="with --redrive: so many a second (all at once)")
    _add_url(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fingerprint", metavar="F", help="of the failure, as `arqway dead` shows it")
    for name in ("kind", "queue", "tag", "batch"):
        parser.add_argument(f"--{name}", metavar=name.upper(), help=f"of this {name}")


def _add_url(parser: argparse.ArgumentParser) -> None:
    url = os.environ.get("ARQWAY_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, type=an_http_url, help=f"the API (ARQWAY_URL, or {DEFAULT_URL})")


def _submit(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import submit

    return submit(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import status

    return status(arguments)


def _watch(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import watch

    return watch(arguments)


def _cancel(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import cancel

    return cancel(arguments)


def _retry(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import retry

    return retry(arguments)


def _list(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.jobs import list_jobs

    return list_jobs(arguments)


def _queues(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.operations import queues

    return queues(arguments)


def _pause(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.operations import pause

    return pause(arguments)


def _resume(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.operations import resume

    return resume(arguments)


def _dead(arguments: argparse.Namespace) -> int:
    from arqway.service.cli.operations import dead

    return dead(arguments)
