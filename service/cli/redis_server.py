"""The Redis server that a command uses: the one in ``REDIS_URL``, else the embedded server of the home folder."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from pydantic import SecretStr

from arqway.service.cli.terminal import WRONG_INPUT, CommandError, warn
from arqway.service.cli.variables import read_settings
from arqway.service.settings import ServiceSettings
from arqway.workers.client.access import Access, open_access
from arqway.workers.contract.errors import ConfigurationError, StoreUnavailable
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.settings import Settings

AnswerT = TypeVar("AnswerT")


@contextmanager
def embedded_server(home: Path, *, share: bool) -> Iterator[EmbeddedServer]:
    """Run the embedded server of ``home`` inside the ``with`` block, which SIGTERM and SIGHUP then end like Ctrl-C.

    Args:
        home: The folder that holds its data.
        share: Whether to use the server of another process if there is one; if False, that is an error.
    """
    server = EmbeddedServer(home, tell=warn)
    with _stop_signals_as(signal.default_int_handler):
        try:
            if share:
                server.start_or_attach()
            else:
                server.start()
            yield server
        except ConfigurationError as error:
            raise CommandError(str(error), WRONG_INPUT) from error
        finally:
            with _stop_signals_as(signal.SIG_IGN):  # the rest is short, and must not be interrupted
                server.stop()


def on_server(settings: ServiceSettings, server: EmbeddedServer | None) -> ServiceSettings:
    """Return ``settings`` with the address of ``server``, if there is one."""
    return settings if server is None else settings.model_copy(update={"redis_url": SecretStr(server.url)})


def ask_redis(question: Callable[[Access], Awaitable[AnswerT]]) -> AnswerT:
    """Return the answer to a question. Raises CommandError if Redis does not answer."""
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


@contextmanager
def _stop_signals_as(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    """Handle stop signals with ``handler`` inside the ``with`` block; signals ignored by nohup stay ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    try:
        for number in handled:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)
