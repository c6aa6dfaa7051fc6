"""The known environment variables, and the settings that are read from them."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from arqway.service.cli.terminal import WRONG_INPUT, CommandError
from arqway.workers.contract.errors import ConfigurationError

if TYPE_CHECKING:
    from arqway.service.settings import ServiceSettings
    from arqway.workers.processes.target import Inspected

_PREFIX = "ARQWAY_"
_OF_TESTS_PREFIX = "ARQWAY_TEST_"
_OTHERS = ("ARQWAY_URL", "ARQWAY_API_KEY", "ARQWAY_REQUIRE")
"""Variables of the client commands and of the test suite."""


def read_settings() -> "ServiceSettings":
    """Return the settings of this process. Raises CommandError, which names the first unusable variable."""
    from arqway.service.settings import ServiceSettings
    from arqway.workers import settings

    try:
        return settings.read_settings(ServiceSettings)
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT) from None


def read_target(command: str, target: str | None) -> "tuple[str, ServiceSettings]":
    """Return the name of a command's target, and the settings of the processes that will run it.

    Raises:
        CommandError: The target cannot be loaded, or a setting is unusable. No process has been started yet.
    """
    from arqway.workers.processes.target import inspect_target

    name, speaker = target or read_settings().jobs, f"arqway {command}"
    try:
        found = inspect_target(name)
        settings = settings_of(found)
    except ConfigurationError as error:
        raise CommandError(str(error), WRONG_INPUT, speaker=speaker) from None
    if not found.kinds and command != "api":
        raise CommandError(f"{name} has no jobs, so there is nothing to run", WRONG_INPUT, speaker=speaker)
    return name, settings


def settings_of(target: "Inspected") -> "ServiceSettings":
    """Return the settings of a target, with any that it does not have read from the environment."""
    from arqway.service.settings import ServiceSettings
    from arqway.workers.settings import read_settings

    brought = target.settings or {}
    known = {name: value for name, value in brought.items() if name in ServiceSettings.model_fields}
    return read_settings(ServiceSettings, **known)


def refuse_unknown_variables(environment: Iterable[str]) -> None:
    """Raise CommandError for an ``ARQWAY_*`` variable that nothing reads, which is most likely a typo."""
    unknown = [name for name in environment if _is_ours(name.upper())]
    known: set[str] = set()
    for variables in (_of_service, _of_report):
        if unknown:
            known.update(variables())
            unknown = [name for name in unknown if name.upper() not in known]
    if unknown:
        close = get_close_matches(unknown[0].upper(), sorted(known), n=1)
        hint = f"did you mean {close[0]}?" if close else "unset it"
        raise CommandError(f"nothing reads the variable {unknown[0]}: {hint}", WRONG_INPUT)


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIX) and not name.startswith(_OF_TESTS_PREFIX)


def _of_service() -> Iterator[str]:
    from arqway.service.settings import ServiceSettings

    yield from _OTHERS
    yield from _variables(ServiceSettings)


def _of_report() -> Iterator[str]:
    # This comes last: it imports the bundled jobs, which a team with jobs of its own may not have installed.
    try:
        from arqway.workers.jobs.report.settings import ReportSettings
    except ImportError:
        return
    yield from _variables(ReportSettings)


def _variables(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        match field.validation_alias:
            case None:
                yield f"{prefix}{name}".upper()
            case str(alias):
                yield alias.upper()
            case AliasChoices(choices=choices):
                yield from (choice.upper() for choice in choices if isinstance(choice, str))
