"""A stock arq ``WorkerSettings``, found by name and run unchanged by ``JobWorker``.

As in arq's own ``get_kwargs``, what counts are the attributes of a class or an object, or the items of a dict, that are
arguments of ``arq.worker.Worker``. Source: arq 0.28, ``worker.py`` ``get_kwargs`` and ``cli.py``.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib import __file__ as importlib_file
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import arq.worker
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import SSLConnection

from arqway.workers.contract import envelope
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings

_ARQ_MAX_JOBS = 10
"""How many jobs arq runs at a time by default."""
_PROBE = {"t": 1, "f": "probe", "a": [1, "one"], "k": {"b": None}, "et": 1}
_NOT_USER_CODE = ("<frozen ", importlib_file, f"{Path(__file__).parents[2]}/", f"{Path(arq.worker.__file__).parent}/")
"""Paths of code that is neither the user's nor called by it: importlib, Arqway and arq."""
_POOL_NAMES = {"db": "database", "path": "unix_socket_path"}
"""Arguments of redis-py's connections that ``RedisSettings`` names differently."""
_NOT_JSON = "does not {} plain JSON, which is all that Arqway stores; docs/from-arq.md says how to move"


class ArqQueues(NamedTuple):
    """What the supervisor of arq workers must know. Passed as JSON, since it never imports their module."""

    queues: list[str]
    burst: bool
    server: dict[str, Any]
    """Fields of ``RedisSettings``."""


def arq_worker(name: str, settings: Settings, worker_id: str | None = None) -> JobWorker:
    """Return a worker for the settings at ``module.WorkerSettings`` or ``module:WorkerSettings``.

    Raises:
        ConfigurationError: They do not exist, arq would not accept them, or their serializers are not JSON. One line.
    """
    with _errors_in_one_line(name):
        found = _find(name)
        takes = isinstance(found, dict) or hasattr(found, "__dict__")
        options: dict[str, Any] = {**arq.worker.get_kwargs(found)} if takes else {}
        if not options.get("functions") and not options.get("cron_jobs"):
            raise ConfigurationError(f"--arq {name} names neither functions nor cron_jobs")
        _refuse_other_formats(name, options)
        if "max_jobs" not in settings.model_fields_set:
            options.setdefault("max_jobs", _ARQ_MAX_JOBS)
        worker = JobWorker(settings=settings, worker_id=worker_id, **options)
    if worker.redis_settings is None:  # a pool made with arq's defaults would pickle what jobs enqueue
        worker.pool.job_serializer = worker.job_serializer
        worker.pool.job_deserializer = worker.job_deserializer
    return worker


def describe(worker: JobWorker) -> ArqQueues:
    """Return the queues of a worker and the server they are on."""
    if worker.redis_settings is not None:
        given = vars(worker.redis_settings)
    else:
        pool = worker.pool.connection_pool
        given = {_POOL_NAMES.get(name, name): value for name, value in pool.connection_kwargs.items()}
        given["ssl"] = issubclass(pool.connection_class, SSLConnection)
    names = {field.name for field in fields(RedisSettings)} - {"retry", "retry_on_error"}
    return ArqQueues(list(worker.queues), worker.burst, {name: given[name] for name in names & set(given)})


async def open_described(server: dict[str, Any], *, tries: int) -> ArqRedis:
    """Connect to the server of an ``ArqQueues``, one try per second. Raises redis-py's errors if none succeeds."""
    return await create_pool(RedisSettings(**{**server, "conn_retries": tries - 1, "conn_retry_delay": 1}))


def _find(name: str) -> Any:
    module_name, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    if not module_name or not attribute:
        raise ConfigurationError(f"--arq {name}: not a name like module.WorkerSettings")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"--arq {name}: there is no module {error.name} here, nor installed") from None
        raise
    if not hasattr(module, attribute):
        raise ConfigurationError(f"--arq {name}: {module_name} has no {attribute}")
    return getattr(module, attribute)


@contextmanager
def _errors_in_one_line(name: str) -> Iterator[None]:
    """Turn anything the user's module raises into a ConfigurationError with file, line and, last, the cause."""
    try:
        yield
    except ConfigurationError:
        raise
    except SyntaxError as error:
        place = f"{_shown(error.filename)}:{error.lineno}: " if error.filename else ""
        raise ConfigurationError(f"--arq {name}: {place}{type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"--arq {name}: {_place(error)}{cause}") from error


def _place(error: BaseException) -> str:
    """Return the innermost place in the user's own code: in the current folder, or in the folder of their module."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_NOT_USER_CODE)
    ]
    folders = tuple(f"{folder}/" for folder in (Path.cwd(), *(Path(frame.filename).parent for frame in frames[:1])))
    own = [frame for frame in frames if frame.filename.startswith(folders)]
    return f"{_shown(own[-1].filename)}:{own[-1].lineno}: " if own else ""


def _shown(file: str) -> str:
    return file.removeprefix(f"{Path.cwd()}/")


def _refuse_other_formats(name: str, options: dict[str, Any]) -> None:
    """Raise ConfigurationError if the queue would hold anything but JSON, which our scripts read and write, too."""
    checks: list[tuple[str, str, Callable[[Any], bool]]] = [
        ("job_serializer", "write", lambda write: json.loads(write(dict(_PROBE))) == _PROBE),
        ("job_deserializer", "read", lambda read: read(envelope.encode(_PROBE)) == _PROBE),
    ]
    for option, verb, speaks_json in checks:
        function = options.get(option)
        if function is None:
            options.pop(option, None)  # ours is used instead, as arq would use its own
            continue
        try:
            right = speaks_json(function)
        except Exception:
            right = False
        if not right:
            raise ConfigurationError(f"--arq {name}: its {option} {_NOT_JSON.format(verb)}")
