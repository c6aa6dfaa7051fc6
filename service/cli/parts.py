"""``arqway api`` and ``arqway worker``: one part of the stack.

With ``REDIS_URL`` set the part is this very process. Without it, the part needs the embedded server of the home: the
first to come starts it and owns it, and stays in front of its child until both end; those that come later use it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from service.cli.addresses import refuse_taken_port
from service.cli.lifeline import end_with_parent
from service.cli.variables import read_settings

if TYPE_CHECKING:
    from service.cli.stack import Part
    from service.settings import ServiceSettings


def run_api(lifeline: int | None) -> int:
    """Serve HTTP until told to stop."""
    from service.__main__ import run
    from service.cli.stack import API

    settings = read_settings()
    refuse_taken_port(settings.host, settings.port)
    return _run(API, run, settings, lifeline)


def run_worker(lifeline: int | None) -> int:
    """Run jobs until told to stop."""
    from service.cli.stack import WORKER
    from workers.__main__ import run

    return _run(WORKER, run, read_settings(), lifeline)


def _run(part: "Part", run: Callable[[], None], settings: "ServiceSettings", lifeline: int | None) -> int:
    if lifeline is not None:
        end_with_parent(lifeline)
    if settings.redis_url is None:
        return _run_on_embedded_server(part, settings)
    run()
    return 0


def _run_on_embedded_server(part: "Part", settings: "ServiceSettings") -> int:
    from service.cli.redis_server import embedded_server
    from service.cli.stack import Stack, StopRequested

    with embedded_server(settings.home, share=True) as server:

        async def serve() -> None:
            async with Stack([part], settings, server) as stack:
                with suppress(StopRequested):
                    await stack.run(asyncio.Event().wait())

        asyncio.run(serve())
    return 0
