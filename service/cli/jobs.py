"""The commands that talk to the HTTP API: those of a single job, and ``list``, ``queues`` and ``dead`` with theirs."""

import json
from argparse import Namespace
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from arqway.service.cli.api_client import ask_api, follow
from arqway.service.cli.terminal import FAILED, WRONG_INPUT, CommandError, progress_view, say, say_table, warn
from arqway.service.client import ArqwayClient, Job, RawJson, WaitTimeout
from arqway.service.client.options import UNSET
from arqway.service.client.views import read_object
from arqway.service.shapes.operations import DeadGroupView, QueueView

_JOBS = ("ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED", "FAILURE")
_QUEUES = ("QUEUE", "DUE", "OLDEST", "LATER", "RUNNING", "IN/S", "OUT/S", "FAILED", "WORKERS", "EMPTY IN", "PAUSED")
_GROUPS = ("FINGERPRINT", "JOBS", "KIND", "CODE", "MESSAGE", "FIRST", "LATEST", "LATEST ID")
_SUBMIT = ("delay", "run_at", "queue", "tags", "unique_key", "deadline", "callback_url", "idempotency_key")
_FILTERS = ("fingerprint", "kind", "queue", "tag", "batch")
_REDRIVE = ("dry_run", "limit", "rate")
_MESSAGE_CHARS = 60


def submit(arguments: Namespace) -> int:
    """Submit a job and print only its id, so that a script can capture it; with --wait, print its result, too."""
    payload, options = RawJson(arguments.payload.encode()), _given(arguments, *_SUBMIT)
    accepted = ask_api(arguments.url, lambda api: api.submit(arguments.kind, payload, **options), changing=True)
    say(accepted.id)
    if arguments.wait is None:
        return 0

    async def wait(api: ArqwayClient) -> Job[Any]:
        try:
            return await api.wait(accepted, timeout_s=arguments.wait.total_seconds())
        except WaitTimeout:
            return await api.get(accepted)

    job = ask_api(arguments.url, wait)
    if not job.succeeded:
        why = f": {job.failure.message} ({job.failure.code})" if job.failure and job.finished else ""
        warn(f"the job is {job.state}{why}")
    return _say_result(job)


def status(arguments: Namespace) -> None:
    """Print the API's view of the job, as JSON."""

    async def view(api: ArqwayClient) -> dict[str, Any]:
        return read_object((await api.request("GET", f"/jobs/{quote(arguments.id, safe='')}")).content)

    say(json.dumps(ask_api(arguments.url, view), indent=2, ensure_ascii=False))


def watch(arguments: Namespace) -> int:
    """Show the job's progress until it has finished."""
    with progress_view() as show:
        job = ask_api(arguments.url, lambda api: follow(api, arguments.id, show))
    return _say_result(job)


def _say_result(job: Job[Any]) -> int:
    if not job.succeeded:
        return FAILED
    say(json.dumps(job.result, ensure_ascii=False))
    return 0


def cancel(arguments: Namespace) -> None:
    """Cancel the job or, if it is running, ask its worker to stop it."""
    job = ask_api(arguments.url, lambda api: api.cancel(arguments.id), changing=True)
    say("cancelled" if job.state == "cancelled" else "still running; it was asked to stop")


def retry(arguments: Namespace) -> None:
    """Resubmit a finished job, and print only the new job's id."""
    payload = UNSET if arguments.payload is None else RawJson(arguments.payload.encode())
    say(ask_api(arguments.url, lambda api: api.retry(arguments.id, payload=payload), changing=True).id)


def list_jobs(arguments: Namespace) -> None:
    """Print the latest jobs, one per line."""

    async def latest(api: ArqwayClient) -> list[Job[Any]]:
        found: list[Job[Any]] = []
        async with aclosing(api.list(**_given(arguments, "state", *_FILTERS))) as jobs:
            async for job in jobs:
                found.append(job)
                if len(found) == arguments.limit:
                    break
        return found

    say_table(_JOBS, map(_job_row, ask_api(arguments.url, latest)))


def _job_row(job: Job[Any]) -> tuple[object, ...]:
    attempt, failure = f"{job.attempt}/{job.max_attempts}", job.failure and job.failure.code
    return job.id, job.kind, job.queue, job.state, attempt, f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}", failure


def queues(arguments: Namespace) -> None:
    """Print the figures of every queue."""
    say_table(_QUEUES, map(_queue_row, ask_api(arguments.url, lambda api: api.operations.queues())))


def _queue_row(queue: QueueView) -> tuple[object, ...]:
    oldest = f"{queue['oldest_age_s']:.1f} s" if queue["depth"] else None
    rates = f"{queue['in_rate']:.2f}", f"{queue['out_rate']:.2f}"
    empty_in = f"{queue['drain_s']:.0f} s" if "drain_s" in queue else None
    paused = _to_the_second(queue["paused_at"]) if "paused_at" in queue else None
    jobs = queue["name"], queue["depth"], oldest, queue["later"], queue["running"]
    return *jobs, *rates, queue["failed"], queue["workers"], empty_in, paused


def pause(arguments: Namespace) -> None:
    """Pause a queue: its jobs stop being started."""
    changed = ask_api(arguments.url, lambda api: api.operations.pause(arguments.name), changing=True)
    say("paused" if changed else "already paused")


def resume(arguments: Namespace) -> None:
    """Resume a paused queue."""
    changed = ask_api(arguments.url, lambda api: api.operations.resume(arguments.name), changing=True)
    say("resumed" if changed else "was not paused")


def dead(arguments: Namespace) -> None:
    """Print the groups of dead letters or, with --redrive, resubmit those that match."""
    options = _given(arguments, *_FILTERS, *_REDRIVE)
    if arguments.redrive:
        done = ask_api(arguments.url, lambda api: api.operations.redrive(**options), changing=True)
        number = f"{done['matched']} would be" if done["dry_run"] else str(done["redriven"])
        say(f"{number} submitted again{'; more match' if done['more'] else ''}")
        return
    if given := next((name for name, value in options.items() if value), None):
        raise CommandError(f"--{given.replace('_', '-')} needs --redrive", WRONG_INPUT)

    async def groups(api: ArqwayClient) -> list[DeadGroupView]:
        return [group async for group in api.operations.dead()]

    say_table(_GROUPS, map(_group_row, ask_api(arguments.url, groups)))


def _group_row(group: DeadGroupView) -> tuple[object, ...]:
    failure, times = group["failure"], map(_to_the_second, (group["first_at"], group["latest_at"]))
    what = group["fingerprint"], group["jobs"], group["kind"], failure["code"], failure["message"][:_MESSAGE_CHARS]
    return *what, *times, group["latest"]["id"]


def _given(arguments: Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


def _to_the_second(timestamp: str) -> str:
    return timestamp.partition(".")[0] + "Z"
