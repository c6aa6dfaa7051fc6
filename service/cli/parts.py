"""``arqway api`` and ``arqway worker``: single parts of the stack.

``arqway worker`` supervises its worker processes. If ``REDIS_URL`` is set, ``arqway api`` is the API process itself.
Otherwise a part needs the embedded server of the home folder: the first part starts and owns it, and supervises its
own child processes until all have ended; parts that are started later share the server.
"""

import asyncio
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arqway.service.cli.reload import Reloader
from arqway.service.cli.terminal import WRONG_INPUT, CommandError
from arqway.service.cli.variables import read_settings, read_target
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.logs import configure_logs
from arqway.workers.processes.supervisor import end_with_parent

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings
    from arqway.workers.processes.embedded import EmbeddedServer
    from arqway.workers.processes.supervisor import Part


def run_api(arguments: Namespace) -> int:
    """Serve HTTP until asked to stop."""
    from arqway.service.__main__ import run

    settings = read_settings()
    if arguments.lifeline is not None:
        end_with_parent(arguments.lifeline, within_s=settings.stop_within_s)
    elif settings.redis_url is None or arguments.reload:
        target, settings = read_target("api", arguments.target)
        if settings.redis_url is None or arguments.reload:
            return _supervise_api(target, settings, reload=arguments.reload)
    run(arguments.target, port=arguments.port, redis_url=arguments.redis_url)
    return 0


def _supervise_api(target: str, settings: "ServiceSettings", *, reload: bool) -> int:
    from arqway.service.cli.listening import refuse_exposure, refuse_locked_door, refuse_taken_port
    from arqway.service.cli.stack import api_part

    def api(server: "EmbeddedServer | None") -> "Part":
        refuse_locked_door(settings, server)
        return api_part(target, server=server)

    refuse_taken_port(settings.host, settings.port)
    refuse_exposure(settings)
    return _keep_running(api, settings, Reloader(target, watches=True) if reload else None)


def run_worker(arguments: Namespace) -> int:
    """Keep worker processes running until asked to stop, or until the burst of an arq ``WorkerSettings`` is over.

    SIGHUP replaces them.
    """
    if arguments.arq is not None:
        return _run_arq_worker(arguments)
    from arqway.workers.processes.workers import worker_part

    target, settings = read_target("worker", arguments.target)
    settings = _with_processes(settings, arguments)
    reloader = Reloader(target, watches=arguments.reload, on_hangup=True)
    return _keep_running(lambda server: worker_part(settings, target, server), settings, reloader)


def _run_arq_worker(arguments: Namespace) -> int:
    from arqway.workers.processes.workers import arq_worker_part

    if arguments.target or arguments.reload:
        raise CommandError("--arq names what is run, so it goes with neither TARGET nor --reload", WRONG_INPUT)
    settings = _with_processes(read_settings(), arguments)
    try:
        part = arq_worker_part(arguments.arq, settings, fail_pickled=arguments.fail_pickled)
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT) from None
    return _keep_running(lambda _: part, settings, None, embedded=False)


def _with_processes(settings: "ServiceSettings", arguments: Namespace) -> "ServiceSettings":
    if arguments.processes is None:
        return settings
    return settings.model_copy(update={"processes": arguments.processes})


def _keep_running(
    part: "Callable[[EmbeddedServer | None], Part]",
    settings: "ServiceSettings",
    reloader: Reloader | None,
    *,
    embedded: bool = True,
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
            async with Stack([kept], settings, server, restarts=None, reloader=reloader) as stack:
                with suppress(StopRequested):
                    await stack.run(stack.done() if kept.ends else asyncio.Event().wait())

        asyncio.run(serve())
    return 0
