"""``arqway submit``, ``status``, ``watch`` and ``cancel``: one job, over HTTP."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from service.cli.api_client import ApiClient, JobView
from service.cli.errors import FAILED
from service.cli.output import say
from service.cli.progress import progress_view


def submit(url: str, kind: str, payload_json: str) -> int:
    """Submit a job and print its id, and nothing else, so that a script can catch it."""
    view = _ask(url, lambda api: api.submit(kind, payload_json))
    say(view["id"])
    return 0


def status(url: str, job_id: str) -> int:
    """Print the job's view as JSON."""
    view = _ask(url, lambda api: api.read(job_id))
    say(json.dumps(view, indent=2, ensure_ascii=False))
    return 0


def watch(url: str, job_id: str) -> int:
    """Show the job's progress until it ends."""
    with progress_view() as show:
        view = _ask(url, lambda api: api.follow(job_id, show))
    if view["state"] != "succeeded":
        return FAILED
    say(json.dumps(view.get("result"), ensure_ascii=False))
    return 0


def cancel(url: str, job_id: str) -> int:
    """Cancel the job, or ask the worker that runs it to."""
    view = _ask(url, lambda api: api.cancel(job_id))
    say("cancelled" if view["state"] == "cancelled" else "it runs, and was told to end")
    return 0


def _ask(url: str, question: Callable[[ApiClient], Coroutine[Any, Any, JobView]]) -> JobView:
    async def ask() -> JobView:
        async with ApiClient(url) as api:
            return await question(api)

    return asyncio.run(ask())
