"""What ``arqway keys`` and ``arqway audit`` ask Redis: the one in REDIS_URL, else the embedded server of the home."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import TypeVar

from arqway.service.cli.errors import CommandError
from arqway.service.cli.redis_server import embedded_server, on_server
from arqway.service.cli.variables import read_settings
from arqway.workers.client.access import Access, open_access
from arqway.workers.contract.errors import StoreUnavailable
from arqway.workers.settings import Settings

AnswerT = TypeVar("AnswerT")


def ask_redis(question: Callable[[Access], Awaitable[AnswerT]]) -> AnswerT:
    """Return the answer. Raises CommandError if Redis does not give one."""
    settings = read_settings()
    with ExitStack() as resources:
        server = None
        if settings.redis_url is None:
            server = resources.enter_context(embedded_server(settings.home, share=True))
        try:
            return asyncio.run(_ask(on_server(settings, server), question))
        except StoreUnavailable as error:
            raise CommandError(f"Redis does not answer: {error.__cause__}") from None


async def _ask(settings: Settings, question: Callable[[Access], Awaitable[AnswerT]]) -> AnswerT:
    async with open_access(settings) as access:
        return await question(access)
