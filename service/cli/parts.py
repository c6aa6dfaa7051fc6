"""``arqway api`` and ``arqway worker``: one part of the stack.

``arqway worker`` stays in front of its worker processes as their supervisor. ``arqway api`` is the API itself where
``REDIS_URL`` is set. Without it, a part needs the embedded server of the home: the first to come starts it and owns it,
and stays in front of its children until all have ended; those that come later use it.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arqway.service.cli.addresses import refuse_taken_port
from arqway.service.cli.errors import WRONG_INPUT, CommandError
from arqway.service.cli.variables import read_settings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.logs import configure_logs
from arqway.workers.processes.lifeline import end_with_parent

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings
    from arqway.workers.processes.embedded import EmbeddedServer
    from arqway.workers.processes.supervisor import Part


def run_api(lifeline: int | None) -> int:
    """Serve HTTP until told to stop."""
    from arqway.service.__main__ import run
    from arqway.service.cli.exposure import refuse_exposure, refuse_locked_door
    from arqway.service.cli.stack import api_part

    def api(server: "EmbeddedServer | None") -> "Part":
        refuse_locked_door(settings, server)
        return api_part()

    settings = read_settings()
    refuse_taken_port(settings.host, settings.port)
    refuse_exposure(settings)
    if lifeline is not None:
        end_with_parent(lifeline, within_s=settings.stop_within_s)
    if settings.redis_url is None:
        return _keep_running(api, settings)
    run()
    return 0


def run_worker(processes: int | None, arq: str | None = None, *, fail_pickled: bool = False) -> int:
    """Keep worker processes running until told to stop, or until the burst of an arq ``WorkerSettings`` is over."""
    from arqway.service.cli.stack import workers_of

    settings = read_settings()
    if processes is not None:
        settings = settings.model_copy(update={"processes": processes})
    if arq is None:
        return _keep_running(lambda server: workers_of(settings, server), settings)
    from arqway.workers.processes.arq_workers import arq_worker_part

    try:
        part = arq_worker_part(arq, settings, fail_pickled=fail_pickled)
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT) from None
    return _keep_running(lambda _: part, settings, embedded=False)


def _keep_running(
    part: "Callable[[EmbeddedServer | None], Part]", settings: "ServiceSettings", *, embedded: bool = True
) -> int:
    from arqway.service.cli.redis_server import embedded_server
    from arqway.service.cli.stack import Stack, StopRequested

    configure_logs(settings.log_level, settings.log_format)
    with ExitStack() as resources:
        server = None
        if embedded and settings.redis_url is None:
            server = resources.enter_context(embedded_server(settings.home, share=True))
        kept = part(server)

        async def serve() -> None:
            async with Stack([kept], settings, server, restarts=None) as stack:
                with suppress(StopRequested):
                    await stack.run(stack.done() if kept.ends else asyncio.Event().wait())

        asyncio.run(serve())
    return 0
