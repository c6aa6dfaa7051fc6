"""``arqway doctor``: checks everything that jobs need in order to run, and prints one line for each check."""

import asyncio
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from arqway.service.cli.environment import embedded_server, settings_of
from arqway.service.cli.terminal import FAILED, say
from arqway.service.settings import ServiceSettings
from arqway.workers.contract.errors import ArqwayError, ConfigurationError, StoreUnavailable
from arqway.workers.processes.target import Inspected, inspect_target
from arqway.workers.settings import make_private, read_settings
from arqway.workers.store.connection import open_redis, store_errors

FoundT = TypeVar("FoundT")
ServerInfo = dict[str, Any]
"""The reply to ``INFO``. It has all that is checked here; hosted servers often forbid ``CONFIG``."""

_OLDEST = (6, 2)
_SERVER_WITHIN_S = 5.0


class _Wrong(ArqwayError):  # noqa: N818 - a finding, not an error of ours
    """A check failed; the text says what is wrong and how to fix it."""


def doctor(arguments: Namespace) -> int:
    """Run every check that makes sense. Returns 0 if all of them passed, else 1."""
    report = _Report()
    settings = report.check("settings", lambda: read_settings(ServiceSettings), "every variable can be used")
    if settings is None:
        return FAILED
    name = arguments.target or settings.jobs
    jobs: Inspected | ConfigurationError
    try:
        jobs = found = inspect_target(name)
        settings = settings_of(found)
    except ConfigurationError as error:
        jobs = error
    report.check("home", lambda: _home(settings.home.absolute()), "{} can be written")
    report.check("jobs", lambda: _kinds(jobs), f"{name} has {{}}")
    embedded = "the embedded server answers (REDIS_URL is not set)"
    answers = embedded if settings.redis_url is None else "the server in REDIS_URL answers"
    info = report.check("server", lambda: _server_info(settings), answers)
    if info is not None:
        report.check("version", lambda: _version(info))
        report.check("eviction", lambda: _eviction(info))
        report.check("persistence", lambda: _persistence(info))
    return report.code


class _Report:
    """Prints a line for each check and remembers whether one failed."""

    def __init__(self) -> None:
        self.code = 0

    def check(self, name: str, run: Callable[[], FoundT], passed: str = "{}") -> FoundT | None:
        """Print the outcome of ``run``, if good as ``passed``, and return what it found; None if the check failed."""
        try:
            found = run()
        except ArqwayError as error:
            self.code = FAILED
            say(f"WRONG  {name:<12} {' '.join(str(error).split())}")
            return None
        say(f"ok     {name:<12} {passed.format(found)}")
        return found


def _home(home: Path) -> Path:
    try:
        make_private(home)
        with tempfile.TemporaryFile(dir=home):
            return home
    except OSError as error:
        raise _Wrong(f"{home} cannot be written ({error.strerror}): set ARQWAY_HOME to a folder that can") from None


def _kinds(jobs: Inspected | ConfigurationError) -> str:
    if isinstance(jobs, ConfigurationError):
        raise jobs
    return ", ".join(jobs.kinds) or "no jobs"


def _server_info(settings: ServiceSettings) -> ServerInfo:
    with embedded_server(settings, share=True) as server:
        url = server.url if server else settings.redis_url.get_secret_value() if settings.redis_url else ""
        return asyncio.run(_ask(url))


async def _ask(url: str) -> ServerInfo:
    redis = open_redis(url)
    try:
        with store_errors():
            async with asyncio.timeout(_SERVER_WITHIN_S):
                info: ServerInfo = await redis.info()
                return info
    except TimeoutError:
        raise _Wrong(f"the server does not answer within {_SERVER_WITHIN_S:g} s") from None
    except StoreUnavailable as error:
        raise _Wrong(f"the server does not answer: {error.__cause__}") from None
    finally:
        await redis.aclose()


def _version(info: ServerInfo) -> str:
    # Valkey reports Redis 7.2 in `redis_version`, for programs that do not know Valkey.
    major, minor, *_ = (int(part) for part in info["redis_version"].split("."))
    if (major, minor) < _OLDEST:
        raise _Wrong(f"Redis {info['redis_version']} is too old: 6.2 or later is needed")
    return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


def _eviction(info: ServerInfo) -> str:
    policy = info.get("maxmemory_policy", "unknown")
    if policy != "noeviction":
        raise _Wrong(f"maxmemory-policy is {policy}, so a full server drops jobs: set it to noeviction")
    return "maxmemory-policy is noeviction"


def _persistence(info: ServerInfo) -> str:
    if not info.get("aof_enabled"):
        raise _Wrong("appendonly is off, so a restart of the server loses accepted jobs: set it to yes")
    if info.get("aof_last_write_status") != "ok":
        raise _Wrong("the last write of the append-only file failed: is the disk full?")
    return "appendonly is on"
