"""``arqway up``: runs the server, the API and a worker until Ctrl-C."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arqway.service.cli.api_client import until_ready
from arqway.service.cli.listening import base_url, free_port, refuse_exposure, refuse_locked_door, refuse_taken_port
from arqway.service.cli.redis_server import embedded_server
from arqway.service.cli.reload import Reloader
from arqway.service.cli.stack import Stack, StopRequested, api_part
from arqway.service.cli.terminal import say
from arqway.service.cli.variables import read_target
from arqway.workers.logs import configure_logs
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.workers import worker_part

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings

READY_WITHIN_S = 60.0
_RESTARTS = 5
"""How many times in a row a process that dies at once is restarted; after that, a person has to fix the cause."""


def up(target: str | None = None, *, reload: bool = False) -> int:
    """Run everything until Ctrl-C or SIGTERM. Both are the expected end, so the exit code is then 0."""
    target, settings = read_target("up", target)
    reloader = Reloader(target, watches=True) if reload else None
    configure_logs(settings.log_level, settings.log_format)
    port = settings.port or free_port()
    refuse_taken_port(settings.host, port)
    refuse_exposure(settings)
    with ExitStack() as resources:
        server = None
        if settings.redis_url is None:
            server = resources.enter_context(embedded_server(settings.home, share=False))
        refuse_locked_door(settings, server)
        parts = [api_part(target, port=port, server=server), worker_part(settings, target, server)]
        stack = Stack(parts, settings, server, restarts=_RESTARTS, reloader=reloader)
        asyncio.run(_serve(stack, base_url(settings.host, port), settings, server))
    say("Everything has stopped.")
    return 0


async def _serve(stack: Stack, url: str, settings: "ServiceSettings", server: EmbeddedServer | None) -> None:
    async with stack:
        try:
            await stack.run(until_ready(url, READY_WITHIN_S))
            _announce(url, settings, server)
            await stack.run(asyncio.Event().wait())
        except StopRequested:
            say("Stopping …")


def _announce(url: str, settings: "ServiceSettings", server: EmbeddedServer | None) -> None:
    say(f"API       {url}")
    say(f"API docs  {url}/docs")
    say(f"Health    {url}/readyz")
    redis = f"embedded, data in {settings.home}/valkey" if server else "the server in REDIS_URL"
    say(f"Redis     {redis}")
    say("Ctrl-C stops everything.")
