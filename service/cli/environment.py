"""What a command runs with: the environment's variables, the settings of its target, and an embedded server."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from types import FrameType
from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from arqway.service.cli.terminal import WRONG_INPUT, CommandError, warn
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.embedded import EmbeddedServer
from arqway.workers.processes.target import Inspected, inspect_target
from arqway.workers.settings import read_settings

_OTHERS = {"ARQWAY_URL", "ARQWAY_API_KEY", "ARQWAY_REQUIRE"}
"""Variables of the client commands and of the test suite."""


def refuse_unknown_variables() -> None:
    """Raise CommandError for an ``ARQWAY_*`` variable that nothing reads, which is most likely a typo."""
    known = _OTHERS | _variables(ServiceSettings)
    ours = [name for name in os.environ if name.upper().startswith("ARQWAY_")]
    unknown = [name for name in ours if not name.upper().startswith("ARQWAY_TEST_") and name.upper() not in known]
    if not unknown:
        return
    with suppress(ImportError):  # a team with jobs of its own may not have installed what the bundled jobs need
        from arqway.workers.jobs.report.settings import ReportSettings

        known |= _variables(ReportSettings)
    for name in unknown:
        if name.upper() not in known:
            close = get_close_matches(name.upper(), sorted(known), n=1)
            hint = f"did you mean {close[0]}?" if close else "unset it"
            raise CommandError(f"nothing reads the variable {name}: {hint}", WRONG_INPUT)


def _variables(settings: type[BaseSettings]) -> set[str]:
    prefix, fields = settings.model_config["env_prefix"], settings.model_fields
    return {f"{prefix}{name}".upper() for name, field in fields.items() if field.validation_alias is None}


def read_target(command: str, target: str | None) -> tuple[str, ServiceSettings]:
    """Return the name of a command's target, and the settings of the processes that will run it.

    Raises:
        CommandError: The target cannot be loaded, or a setting is unusable. No process has been started yet.
    """
    name, speaker = target or read_settings(ServiceSettings).jobs, f"arqway {command}"
    try:
        found = inspect_target(name)
        settings = settings_of(found)
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT, speaker=speaker) from None
    if not found.kinds and command != "api":
        raise CommandError(f"{name} has no jobs, so there is nothing to run", WRONG_INPUT, speaker=speaker)
    return name, settings


def settings_of(target: Inspected) -> ServiceSettings:
    """Return the settings of a target, with any that it does not have read from the environment."""
    given = target.settings or {}
    return read_settings(ServiceSettings, **{name: given[name] for name in given.keys() & ServiceSettings.model_fields})


@contextmanager
def embedded_server(settings: ServiceSettings, *, share: bool) -> Iterator[EmbeddedServer | None]:
    """Run the home's embedded server inside the ``with`` block, or yield None if ``REDIS_URL`` names a server.

    Stop signals then end the block like Ctrl-C.

    Args:
        settings: They name the home.
        share: Whether to use the server of another process if there is one; if False, that is an error.
    """
    if settings.redis_url is not None:
        yield None
        return
    server = EmbeddedServer(settings.home, tell=warn)
    with _stop_signals_as(signal.default_int_handler):
        try:
            if share:
                server.start_or_attach()
            else:
                server.start()
            yield server
        finally:
            with _stop_signals_as(signal.SIG_IGN):  # the rest is short, and must not be interrupted
                server.stop()


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


def on_server(settings: ServiceSettings, server: EmbeddedServer | None) -> ServiceSettings:
    """Return ``settings`` with the address of ``server``, if there is one."""
    return settings if server is None else settings.model_copy(update={"redis_url": SecretStr(server.url)})
