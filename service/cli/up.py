"""``arqway up``: server, API and worker, until Ctrl-C."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arqway.service.cli.addresses import base_url, free_port, refuse_taken_port
from arqway.service.cli.api_client import until_ready
from arqway.service.cli.exposure import refuse_exposure, refuse_locked_door
from arqway.service.cli.output import say
from arqway.service.cli.redis_server import embedded_server
from arqway.service.cli.stack import Stack, StopRequested, api_part, workers_of
from arqway.service.cli.variables import read_settings
from arqway.workers.logs import configure_logs
from arqway.workers.processes.embedded import EmbeddedServer

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings

READY_WITHIN_S = 60.0
_RESTARTS = 5
"""In a row, of a process that dies at once; then there is something for a person to mend."""


def up() -> int:
    """Run everything; Ctrl-C and SIGTERM are the wished-for end, so they give 0."""
    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format)
    port = settings.port or free_port()
    refuse_taken_port(settings.host, port)
    refuse_exposure(settings)
    with ExitStack() as resources:
        server = None
        if settings.redis_url is None:
            server = resources.enter_context(embedded_server(settings.home, share=False))
        refuse_locked_door(settings, server)
        asyncio.run(_serve(settings, port, server))
    say("Everything has stopped.")
    return 0


async def _serve(settings: "ServiceSettings", port: int, server: EmbeddedServer | None) -> None:
    url = base_url(settings.host, port)
    parts = [api_part(), workers_of(settings, server)]
    async with Stack(parts, settings, server, restarts=_RESTARTS, changes={"ARQWAY_PORT": str(port)}) as stack:
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
