"""``arqway up`` runs the server, the API and a worker until Ctrl-C; ``arqway api`` and ``arqway worker`` run one part.

``arqway worker`` supervises its worker processes. If ``REDIS_URL`` is set, ``arqway api`` is the API process itself.
Otherwise a part needs the embedded server of the home folder: the first part starts and owns it, and supervises its
own child processes until all have ended; parts that are started later share the server.
"""

import asyncio
import socket
from argparse import Namespace
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from arqway.service.access.hosts import is_loopback, refuse_exposure, refuse_locked_door
from arqway.service.cli.environment import embedded_server, on_server, read_target
from arqway.service.cli.stack import Reloader, Stack, StopRequested
from arqway.service.cli.terminal import WRONG_INPUT, CommandError, say
from arqway.service.settings import ServiceSettings
from arqway.workers.logs import configure_logs
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.supervisor import Part, end_with_parent
from arqway.workers.processes.workers import worker_part
from arqway.workers.settings import read_settings

_RESTARTS = 5
"""How many times in a row a process that dies at once is restarted; after that, a person has to fix the cause."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, never listened on


def up(arguments: Namespace) -> None:
    """Run everything until Ctrl-C or SIGTERM. Both are the expected end, so the exit code is then 0."""
    from arqway.service.cli.api_client import until_ready

    target, settings = read_target("up", arguments.target)
    reloader = Reloader(target, watches=True) if arguments.reload else None
    port = settings.port or free_port()
    url = base_url(settings.host, port)

    async def announce() -> None:
        await until_ready(url)
        say(f"API       {url}")
        say(f"API docs  {url}/docs")
        say(f"Health    {url}/readyz")
        embedded = settings.redis_url is None
        say(f"Redis     {f'embedded, data in {settings.home}/valkey' if embedded else 'the server in REDIS_URL'}")
        say("Ctrl-C stops everything.")

    _refuse_address(settings, port)
    with embedded_server(settings, share=False) as server:
        _refuse_locked_door(settings, server)
        parts = [api_part(target, server, port=port), worker_part(settings, target, server)]
        _keep_running(Stack(parts, settings, server, restarts=_RESTARTS, reloader=reloader), settings, announce)
    say("Everything has stopped.")


def api(arguments: Namespace) -> None:
    """Serve HTTP until asked to stop."""
    settings = read_settings(ServiceSettings)
    if arguments.lifeline is not None:
        end_with_parent(arguments.lifeline, within_s=settings.stop_within_s)
    elif settings.redis_url is None or arguments.reload:
        target, settings = read_target("api", arguments.target)
        if settings.redis_url is None or arguments.reload:
            reloader = Reloader(target, watches=True) if arguments.reload else None
            _refuse_address(settings, settings.port)
            with embedded_server(settings, share=True) as server:
                _refuse_locked_door(settings, server)
                stack = Stack([api_part(target, server)], settings, server, restarts=None, reloader=reloader)
                _keep_running(stack, settings)
            return
    from arqway.service.__main__ import run

    run(arguments.target, port=arguments.port, redis_url=arguments.redis_url)


def worker(arguments: Namespace) -> None:
    """Keep worker processes running until asked to stop, or until the burst of an arq ``WorkerSettings`` is over.

    SIGHUP replaces them, unless they run a ``WorkerSettings``.
    """
    if arguments.arq is None:
        target, settings = read_target("worker", arguments.target)
        settings = _with_processes(settings, arguments)
        reloader = Reloader(target, watches=arguments.reload, on_hangup=True)
        with embedded_server(settings, share=True) as server:
            part = worker_part(settings, target, server)
            _keep_running(Stack([part], settings, server, restarts=None, reloader=reloader), settings)
        return
    from arqway.workers.processes.workers import arq_worker_part

    if arguments.target or arguments.reload:
        raise CommandError("--arq names what is run, so it goes with neither TARGET nor --reload", WRONG_INPUT)
    settings = _with_processes(read_settings(ServiceSettings), arguments)
    part = arq_worker_part(arguments.arq, settings, fail_pickled=arguments.fail_pickled)
    _keep_running(Stack([part], settings, None, restarts=None), settings)


def _with_processes(settings: ServiceSettings, arguments: Namespace) -> ServiceSettings:
    return settings.model_copy(update={"processes": arguments.processes or settings.processes})


def _keep_running(
    stack: Stack, settings: ServiceSettings, announce: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> None:
    """Run a stack until its work is done or a stop signal arrives; ``announce`` prints that everything runs."""
    configure_logs(settings.log_level, settings.log_format)

    async def work() -> None:
        if announce is not None:
            await announce()
        await stack.done()

    async def run() -> None:
        async with stack:
            try:
                await stack.run(work())
            except StopRequested:
                if announce is not None:
                    say("Stopping …")

    asyncio.run(run())


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


def _refuse_address(settings: ServiceSettings, port: int) -> None:
    """Refuse an address where other machines could call without a key, or that cannot be listened on at the moment."""
    host = settings.host
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
    refuse_exposure(settings)


def _refuse_locked_door(settings: ServiceSettings, server: EmbeddedServer | None) -> None:
    """Refuse to serve other machines while no key is usable. On the loopback interface, the API only logs a warning."""
    if not is_loopback(settings.host):
        refuse_locked_door(on_server(settings, server))


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def base_url(host: str, port: int) -> str:
    """Return the URL at which a client on this machine reaches an API that listens on ``host:port``."""
    reached = _ANY.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
