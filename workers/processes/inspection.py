"""Inspecting a target in a separate process, so that a supervisor runs none of the user's code.

The child imports the target as a worker would, and answers through a pipe with one JSON object: ``{"error": reason}``,
or ``{"kinds": [...], "settings": {...}}``, with null for settings if those of the environment apply.
"""

import json
import os
import subprocess
import sys
from signal import Signals
from typing import Any, NamedTuple

from pydantic import SecretStr

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.processes.target import load_target
from arqway.workers.settings import Settings

OURS = str(Settings.model_fields["jobs"].default)
"""Contains none of the user's code, so it is imported in this process."""
_WITHIN_S = 120.0
_STDERR = 2
"""Receives whatever the user's module prints: standard output belongs to the command."""


class Inspected(NamedTuple):
    """What a target contains."""

    kinds: list[str]
    settings: dict[str, Any] | None
    """The values of its own settings, secrets included; None: those of the environment apply."""


def inspect_target(name: str) -> Inspected:
    """Import the target in another process, and return what it contains.

    Raises:
        ConfigurationError: It cannot be loaded; the message is that of ``load_target``.
    """
    if name == OURS:
        return Inspected(sorted(load_target(name).registry), None)
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as answers:
        command = [sys.executable, "-P", "-m", __name__, name, str(writable)]
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=_STDERR, pass_fds=(writable,))
        finally:
            os.close(writable)
        try:
            code = child.wait(_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"{name} cannot be loaded: it takes longer than {_WITHIN_S:g} s") from None
        finally:
            child.kill()
        answer = answers.read() if code == 0 else b""
    if not answer:
        ended = f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise ConfigurationError(f"{name} cannot be loaded: the process that imported it {ended}")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise ConfigurationError(found["error"])
    return Inspected(**found)


def _answer(name: str) -> dict[str, Any]:
    try:
        registry, settings = load_target(name)
    except ConfigurationError as error:
        return {"error": str(error)}
    return {"kinds": sorted(registry), "settings": None if settings is None else dict(settings)}


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def main(name: str, descriptor: int) -> None:
    """Answer and exit at once, without waiting for threads that the user's module has started."""
    with os.fdopen(descriptor, "w") as pipe:
        json.dump(_answer(name), pipe, default=_plain)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
