"""Loading the target of a command, ``package.module:NAME``: a registry, or an ``Arqway`` object that has one.

Any error in the user's module is reported in one line: file and line first, the cause last. A supervisor runs none of
the user's code: it has a child inspect the target, which imports it as a worker would.
"""

import json
import os
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple

from pydantic import SecretStr

from arqway.workers.contract.errors import ArqwayError, ConfigurationError
from arqway.workers.processes.supervisor import ending
from arqway.workers.registry import Registry
from arqway.workers.settings import Settings

OURS = str(Settings.model_fields["jobs"].default)
"""The target that holds our own jobs. It contains none of the user's code, so it is imported in this process."""
_OUR_PACKAGE = __name__.partition(".")[0]
_INSTALLED = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))
_INSPECTED_WITHIN_S = 120.0
_STDERR = 2
"""Receives whatever the user's module prints: standard output belongs to the command."""
_CAUSES_MAX, _TEXT_CHARS_MAX = 5, 2_000


class Loaded(NamedTuple):
    """A loaded target."""

    registry: Registry
    settings: Settings | None
    """The settings passed to the user's ``Arqway`` object; None: those of the environment apply."""


def load_target(name: str) -> Loaded:
    """Import ``package.module:NAME`` and return the object it names.

    The module itself is looked up in the current folder first, even in Python's safe-path mode. Its imports are looked
    up there last, so that a user's file named ``redis.py`` does not shadow the library.

    Raises:
        ConfigurationError: The target cannot be used. The message is one line: where in the user's code, and why.
    """
    module_name, _, attribute = name.partition(":")
    module: ModuleType | None = None
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    finder = _FolderFinder(module_name.partition(".")[0], folder)
    sys.meta_path.insert(0, finder)
    try:
        module = import_module(module_name)
        return _read(getattr(module, attribute), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit included: a user's module may raise anything
        place = _place_of(error, module_name)
        raise ConfigurationError(f"{place}: {_reason(error)}" if place else _unfound(error, name, module)) from error
    finally:
        sys.meta_path.remove(finder)


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
        command = [sys.executable, "-P", "-c", f"from {__name__} import describe; describe({name!r}, {writable})"]
        options: Any = {"stdin": subprocess.DEVNULL, "stdout": _STDERR, "pass_fds": (writable,)}
        try:
            code = subprocess.run(command, timeout=_INSPECTED_WITHIN_S, check=False, **options).returncode
        except subprocess.TimeoutExpired:
            reason = f"it takes longer than {_INSPECTED_WITHIN_S:g} s"
            raise ConfigurationError(f"{name} cannot be loaded: {reason}") from None
        finally:
            os.close(writable)
        answer = answers.read() if code == 0 else b""
    if not answer:
        raise ConfigurationError(f"{name} cannot be loaded: the process that imported it {ending(code)}")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise ConfigurationError(found["error"])
    return Inspected(**found)


def describe(name: str, descriptor: int) -> None:
    """Load the target and write one JSON object to the pipe: either ``error``, or the fields of ``Inspected``.

    Then exit at once, without waiting for threads that the user's module has started.
    """
    try:
        registry, settings = load_target(name)
        answer: dict[str, Any] = {"kinds": sorted(registry), "settings": None if settings is None else dict(settings)}
    except ConfigurationError as error:
        answer = {"error": str(error)}
    with os.fdopen(descriptor, "w") as pipe:
        json.dump(answer, pipe, default=lambda it: it.get_secret_value() if isinstance(it, SecretStr) else str(it))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _read(found: Any, name: str) -> Loaded:
    """Read the target by its attributes: its class belongs to the service, which workers must not import."""
    registry = found if isinstance(found, Registry) else getattr(found, "registry", None)
    settings = None if found is registry else getattr(found, "explicit_settings", None)
    if not isinstance(registry, Registry):
        raise ConfigurationError(f"{name} is a {type(found).__name__}, neither a Registry nor an Arqway object")
    if not isinstance(settings, Settings | None):
        raise ConfigurationError(f"the settings of {name} are a {type(settings).__name__}, not Settings")
    if missing := [package for package in registry.needs if find_spec(package) is None]:
        remedy = " ".join(sorted({repr(registry.needs[package]) for package in missing}))
        raise ConfigurationError(f"{name} needs {', '.join(missing)}, not installed: pip install {remedy}")
    return Loaded(registry, settings)


class _FolderFinder(NamedTuple):
    """Finds one package or module in one folder. Implements ``importlib.abc.MetaPathFinder``."""

    package: str
    folder: str

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.package:
            return None
        spec = PathFinder.find_spec(fullname, [self.folder], target)
        return spec if spec and spec.origin else None  # a folder without ``__init__.py`` is found in the usual order


def _unfound(error: BaseException, name: str, module: ModuleType | None) -> str:
    """Return the message for an error outside the user's code: the module or the attribute does not exist."""
    module_name, _, attribute = name.partition(":")
    if isinstance(error, ConfigurationError):
        return str(error)
    if module is not None and isinstance(error, AttributeError):
        registries = [key for key, value in vars(module).items() if isinstance(value, Registry)]
        hint = f"; its registry is called {registries[0]}" if len(registries) == 1 else ""
        return f"{_shown(getattr(module, '__file__', None) or module_name)}: it has no {attribute}{hint}"
    if isinstance(error, ModuleNotFoundError):
        return f"{name} cannot be loaded: {_text(error)}, neither in {Path.cwd()} nor installed"
    try:  # Python could not decode the module
        spec = find_spec(module_name)
    except Exception:
        spec = None
    return f"{_shown(spec.origin) if spec and spec.origin else module_name}: {_reason(error)}"


def _place_of(error: BaseException, module_name: str) -> str | None:
    """Return the file and line of the last call in the user's code that led to the error."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return f"{_shown(error.filename)}, line {error.lineno or 1}"
    calls = [
        (Path(frame.f_code.co_filename), _package_of(frame), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _package_of(frame) not in {_OUR_PACKAGE, "importlib"} and not frame.f_code.co_filename.startswith("<")
    ]
    own = module_name.partition(".")[0]
    theirs = [
        call
        for call in calls
        if call[1] == own or not any(call[0].resolve().is_relative_to(folder) for folder in _INSTALLED)
    ]
    for file, _, line in reversed(theirs or calls):
        return f"{_shown(file)}, line {line}"
    return None


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _shown(file: str | Path) -> str:
    """Return a path as the user would write it: relative to the current folder if it lies below it."""
    path, here = Path(file).resolve(), Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _reason(error: BaseException) -> str:
    """Return an error and its chain of causes in one line."""
    reasons: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(reasons) < _CAUSES_MAX:
        text, kind = _text(cause), type(cause).__name__
        reasons.append(text if isinstance(cause, ArqwayError) else f"{kind}: {text}" if text else kind)
        cause = cause.__cause__
    return ", from ".join(reasons)


def _text(error: BaseException) -> str:
    """Return an error's text as one line without control characters."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        return "(its text cannot be read)"
    text = text[:_TEXT_CHARS_MAX]
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
