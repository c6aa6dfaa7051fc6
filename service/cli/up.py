"""``arqway up`` runs the server, the API and a worker until Ctrl-C; ``arqway api`` and ``arqway worker`` run one part.

``arqway worker`` supervises its worker processes. If ``REDIS_URL`` is set, ``arqway api`` is the API process itself.
Otherwise a part needs the embedded server of the home folder: the first part starts and owns it, and supervises its
own child processes until all have ended; parts that are started later share the server.
"""

import asyncio
import socket
from argparse import Namespace
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from arqway.service.access.exposure import refuse_exposure, refuse_locked_door
from arqway.service.access.hosts import is_loopback
from arqway.service.cli.environment import embedded_server, on_server, read_target
from arqway.service.cli.stack import Reloader, Stack, StopRequested
from arqway.service.cli.terminal import WRONG_INPUT, CommandError, say
from arqway.service.settings import ServiceSettings
from arqway.workers.logs import configure_logs
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.lifeline import end_with_parent
from arqway.workers.processes.supervisor import Part
from arqway.workers.processes.workers import worker_part
from arqway.workers.settings import read_settings

_RESTARTS = 5
"""How many times in a row a process that dies at once is restarted; after that, a person has to fix the cause."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, never listened on
Parts = Callable[[EmbeddedServer | None], list[Part]]


def up(arguments: Namespace) -> int:
    """Run everything until Ctrl-C or SIGTERM. Both are the expected end, so the exit code is then 0."""
    from arqway.service.cli.api_client import until_ready

    target, settings = read_target("up", arguments.target)
    reloader = Reloader(target, watches=True) if arguments.reload else None
    port = settings.port or free_port()
    url = base_url(settings.host, port)

    def parts(server: EmbeddedServer | None) -> list[Part]:
        return [api_part(target, server, port=port), worker_part(settings, target, server)]

    async def announce() -> None:
        await until_ready(url)
        say(f"API       {url}")
        say(f"API docs  {url}/docs")
        say(f"Health    {url}/readyz")
        embedded = settings.redis_url is None
        say(f"Redis     {f'embedded, data in {settings.home}/valkey' if embedded else 'the server in REDIS_URL'}")
        say("Ctrl-C stops everything.")

    _keep_running(parts, settings, reloader, port=port, share=False, restarts=_RESTARTS, announce=announce)
    say("Everything has stopped.")
    return 0


def api(arguments: Namespace) -> int:
    """Serve HTTP until asked to stop."""
    settings = read_settings(ServiceSettings)
    if arguments.lifeline is not None:
        end_with_parent(arguments.lifeline, within_s=settings.stop_within_s)
    elif settings.redis_url is None or arguments.reload:
        target, settings = read_target("api", arguments.target)
        if settings.redis_url is None or arguments.reload:
            reloader = Reloader(target, watches=True) if arguments.reload else None
            return _keep_running(lambda server: [api_part(target, server)], settings, reloader, port=settings.port)
    from arqway.service.__main__ import run

    run(arguments.target, port=arguments.port, redis_url=arguments.redis_url)
    return 0


def worker(arguments: Namespace) -> int:
    """Keep worker processes running until asked to stop, or until the burst of an arq ``WorkerSettings`` is over.

    SIGHUP replaces them, unless they run a ``WorkerSettings``.
    """
    if arguments.arq is not None:
        return _arq_worker(arguments)
    target, settings = read_target("worker", arguments.target)
    settings = _with_processes(settings, arguments)
    reloader = Reloader(target, watches=arguments.reload, on_hangup=True)
    return _keep_running(lambda server: [worker_part(settings, target, server)], settings, reloader)


def _arq_worker(arguments: Namespace) -> int:
    from arqway.workers.processes.arq_workers import arq_worker_part

    if arguments.target or arguments.reload:
        raise CommandError("--arq names what is run, so it goes with neither TARGET nor --reload", WRONG_INPUT)
    settings = _with_processes(read_settings(ServiceSettings), arguments)
    part = arq_worker_part(arguments.arq, settings, fail_pickled=arguments.fail_pickled)
    return _keep_running(lambda _: [part], settings, None, embedded=False)


def _with_processes(settings: ServiceSettings, arguments: Namespace) -> ServiceSettings:
    return settings.model_copy(update={"processes": arguments.processes or settings.processes})


def _keep_running(
    parts: Parts,
    settings: ServiceSettings,
    reloader: Reloader | None,
    *,
    port: int | None = None,
    embedded: bool = True,
    share: bool = True,
    restarts: int | None = None,
    announce: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Run processes until they have finished their work or a stop signal arrives, and return the exit code 0.

    Args:
        parts: Returns what to run, given the embedded server.
        settings: Those that the processes will find, too.
        reloader: Replaces the processes when their code has changed.
        port: Where the API will listen, if it is one of them.
        embedded: Whether the processes need an embedded server if ``REDIS_URL`` names none.
        share: Whether that may be the server of another process.
        restarts: How many times in a row a process that dies at once is restarted; None for no limit.
        announce: Prints that everything runs, once it does.

    Raises:
        CommandError: The port is taken, or the processes cannot be kept running.
        ConfigurationError: Other machines could call the API without a key, or only they could and no key is usable.
    """
    configure_logs(settings.log_level, settings.log_format)
    if port is not None:
        _refuse_taken_port(settings.host, port)
        refuse_exposure(settings)
    with embedded_server(settings, share=share) if embedded else nullcontext() as server:
        if port is not None and not is_loopback(settings.host):  # there, the API only logs a warning
            refuse_locked_door(on_server(settings, server))
        running = parts(server)

        async def work(stack: Stack) -> None:
            if announce is not None:
                await announce()
            await stack.done()

        async def serve() -> None:
            async with Stack(running, settings, server, restarts=restarts, reloader=reloader) as stack:
                try:
                    await stack.run(work(stack))
                except StopRequested:
                    if announce is not None:
                        say("Stopping …")

        asyncio.run(serve())
    return 0


def api_part(target: str, server: EmbeddedServer | None, *, port: int | None = None, log: Path | None = None) -> Part:
    """Return the API as a part of a stack.

    Args:
        target: The registry or ``Arqway`` object whose jobs it accepts.
        server: The embedded server, if any, which overrides the settings.
        port: Overrides the one in the settings.
        log: The file for its output; by default, it shares this process's output.
    """
    options = {"--port": port, "--redis-url": server and server.url}
    given = [str(part) for option, value in options.items() if value is not None for part in (option, value)]
    return Part(name="API", command=lambda _: ("-m", "arqway.service.cli", "api", target, *given), log=log)


def _refuse_taken_port(host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in addresses:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "set ARQWAY_PORT to another port, or ARQWAY_HOST to another address"
        raise CommandError(f"cannot listen on {host}:{port}: {reason}; {hint}", WRONG_INPUT) from None


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def base_url(host: str, port: int) -> str:
    """Return the URL at which a client on this machine reaches an API that listens on ``host:port``."""
    reached = _ANY.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
