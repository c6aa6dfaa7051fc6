"""``arqway submit``, ``status``, ``watch``, ``cancel``, ``retry`` and ``list``: jobs over HTTP."""

import asyncio
import json
from argparse import Namespace
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from arqway.service.cli.api_client import follow, open_api
from arqway.service.cli.progress import progress_view
from arqway.service.cli.terminal import FAILED, say, say_table, warn
from arqway.service.client import ArqwayClient, HttpSubmitOptions, Job, RawJson, WaitTimeout
from arqway.service.client.options import UNSET
from arqway.service.client.views import read_object

AnswerT = TypeVar("AnswerT")
_HEADING = ("ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED", "FAILURE")


def submit(arguments: Namespace) -> int:
    """Submit a job and print only its id, so that a script can capture it; with --wait, print its result, too."""
    payload = RawJson(arguments.payload.encode())
    kind, options = arguments.kind, _options(arguments)
    accepted = ask_api(arguments.url, lambda api: api.submit(kind, payload, **options), changing=True)
    say(accepted.id)
    if arguments.wait is None:
        return 0
    return _tell_end(ask_api(arguments.url, lambda api: _waited(api, accepted, arguments.wait)))


def status(arguments: Namespace) -> int:
    """Print the API's view of the job, as JSON."""
    view = ask_api(arguments.url, lambda api: _view(api, arguments.id))
    say(json.dumps(view, indent=2, ensure_ascii=False))
    return 0


def watch(arguments: Namespace) -> int:
    """Show the job's progress until it has finished."""
    with progress_view() as show:
        job = ask_api(arguments.url, lambda api: follow(api, arguments.id, show))
    if job.succeeded:
        _say_result(job)
    return 0 if job.succeeded else FAILED


def cancel(arguments: Namespace) -> int:
    """Cancel the job or, if it is running, ask its worker to stop it."""
    job = ask_api(arguments.url, lambda api: api.cancel(arguments.id), changing=True)
    say("cancelled" if job.state == "cancelled" else "it runs, and was told to end")
    return 0


def retry(arguments: Namespace) -> int:
    """Resubmit a finished job, and print only the new job's id."""
    payload = UNSET if arguments.payload is None else RawJson(arguments.payload.encode())
    say(ask_api(arguments.url, lambda api: api.retry(arguments.id, payload=payload), changing=True).id)
    return 0


def list_jobs(arguments: Namespace) -> int:
    """Print the latest jobs, one per line."""
    names = ("state", "kind", "queue", "tag", "batch", "fingerprint")
    which = {name: getattr(arguments, name) for name in names}
    say_table(_HEADING, ask_api(arguments.url, lambda api: _rows(api, which, arguments.limit)))
    return 0


def ask_api(
    url: str, question: Callable[[ArqwayClient], Coroutine[Any, Any, AnswerT]], *, changing: bool = False
) -> AnswerT:
    """Return the API's answer; ``changing`` says whether the request changes something. Raises CommandError."""

    async def ask() -> AnswerT:
        async with open_api(url, changing=changing) as api:
            return await question(api)

    return asyncio.run(ask())


def _options(arguments: Namespace) -> HttpSubmitOptions:
    return {
        "delay": None if arguments.delay is None else timedelta(seconds=arguments.delay),
        "run_at": arguments.run_at,
        "queue": arguments.queue,
        "tags": arguments.tag,
        "unique_key": arguments.unique_key,
        "deadline": arguments.deadline,
        "callback_url": arguments.callback_url,
        "idempotency_key": arguments.idempotency_key,
    }


async def _view(api: ArqwayClient, job_id: str) -> dict[str, Any]:
    return read_object((await api.request("GET", f"/jobs/{quote(job_id, safe='')}")).content)


async def _waited(api: ArqwayClient, job: Job[Any], wait_s: float) -> Job[Any]:
    try:
        return await api.wait(job, timeout_s=wait_s)
    except WaitTimeout:
        return await api.get(job)


def _tell_end(job: Job[Any]) -> int:
    if job.succeeded:
        _say_result(job)
        return 0
    failure = job.failure
    why = f": {failure.message} ({failure.code})" if failure and job.finished else ""
    warn(f"the job is {job.state}{why}")
    return FAILED


def _say_result(job: Job[Any]) -> None:
    say(json.dumps(job.result, ensure_ascii=False))


async def _rows(api: ArqwayClient, which: dict[str, Any], limit: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    async with aclosing(api.list(**which)) as jobs:
        async for job in jobs:
            rows.append(_row(job))
            if len(rows) == limit:
                break
    return rows


def _row(job: Job[Any]) -> tuple[str, ...]:
    attempt = f"{job.attempt}/{job.max_attempts}"
    created = f"{job.created_at:%Y-%m-%dT%H:%M:%SZ}"
    failure = job.failure.code if job.failure else ""
    return job.id, job.kind, job.queue, job.state, attempt, created, failure
