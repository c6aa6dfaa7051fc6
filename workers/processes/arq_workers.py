"""Worker processes for a stock arq ``WorkerSettings``: a separate process reports what the supervisor must know of it.

Only the workers and that process import the user's module; the supervisor does not.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable
from arqway.workers.contract.keys import WEBHOOK_QUEUE, queue
from arqway.workers.engine.arq_settings import ArqQueues, open_described
from arqway.workers.processes.supervisor import MISCONFIGURED, Part
from arqway.workers.processes.workers import part_of
from arqway.workers.settings import Settings
from arqway.workers.store.connection import store_errors
from arqway.workers.store.envelopes import Envelopes
from arqway.workers.store.workers import Fleet

_TRIES = 1_000_000
"""In effect unlimited: the caller has a time limit of its own."""


def arq_worker_part(name: str, settings: Settings, *, fail_pickled: bool) -> Part:
    """Return the worker processes for the settings at ``name``.

    Args:
        name: Such as ``module.WorkerSettings``.
        settings: How many processes, and everything that arq has no option for.
        fail_pickled: Start although pickled jobs are waiting, each of which will fail.

    Raises:
        ConfigurationError: The settings cannot be used, or pickled jobs are waiting in their queues.
    """
    found = _ask(name)
    if not fail_pickled:
        asyncio.run(_refuse_pickled(found))

    @asynccontextmanager
    async def open_fleet() -> AsyncIterator[Fleet]:
        async with await open_described(found.server, tries=_TRIES) as redis:
            yield Fleet(redis)

    served = [*found.queues, *[WEBHOOK_QUEUE] * bool(settings.webhook_secrets)]
    return part_of(settings, open_fleet, served, "--arq", name, ends=found.burst)


def _ask(name: str) -> ArqQueues:
    command = [sys.executable, "-P", "-m", "arqway.workers", "--arq", name, "--describe"]
    asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if asked.returncode == MISCONFIGURED:
        reason = asked.stderr.rstrip().rpartition("\n")[2]
        raise ConfigurationError(reason.removeprefix("arqway worker: "))
    if asked.returncode != 0:
        sys.stderr.write(asked.stderr)
        raise ConfigurationError(f"--arq {name}: a process that imported it ended with exit code {asked.returncode}")
    return ArqQueues(*json.loads(asked.stdout.rstrip().rpartition("\n")[2]))


async def _refuse_pickled(found: ArqQueues) -> None:
    """Raise ConfigurationError if there are pickled jobs. If the server is away, the workers will wait for it."""
    try:
        with store_errors():
            redis = await open_described(found.server, tries=1)
        async with redis:
            for name in found.queues:
                if pickled := await Envelopes(redis).count_pickled(queue(name)):
                    raise ConfigurationError(
                        f"{pickled} of the next jobs in {queue(name)} are pickled, and would fail: convert them with "
                        "`arqway convert --pickle`, or start with --fail-pickled (docs/from-arq.md)"
                    )
    except StoreUnavailable:
        return
