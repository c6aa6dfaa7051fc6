"""``python -m arqway.workers``: runs one worker process until it is stopped. ``arqway worker`` supervises several."""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import Sequence

from pydantic import SecretStr

from arqway.workers.background import DutyError
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.arq_settings import arq_worker, describe
from arqway.workers.engine.threads import JobThreads
from arqway.workers.engine.worker import JobWorker
from arqway.workers.logs import configure_logs
from arqway.workers.processes.supervisor import end_with_parent
from arqway.workers.processes.target import load_target
from arqway.workers.settings import Settings, read_settings

try:
    from uvloop import new_event_loop
except ImportError:  # not available on this platform
    from asyncio import new_event_loop  # type: ignore[assignment]


logger = logging.getLogger("arqway.workers")

_THREADS_S = 1.0
"""How long a worker that has stopped waits for blocking calls in threads, which nothing can end."""


def run(arguments: Sequence[str] = ()) -> None:
    """Run a worker. Exits with 2 and a one-line message on invalid configuration, with 1 if a duty keeps failing."""
    options = _parser().parse_args(arguments)
    code, threads = 0, None
    try:
        settings = read_settings(Settings)
        if options.lifeline is not None:
            end_with_parent(options.lifeline, within_s=settings.stop_within_s)
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        worker = _make_worker(options, settings)
        configure_logs(worker.settings.log_level, worker.settings.log_format)
        if options.describe:
            sys.stdout.write(f"\n{json.dumps(describe(worker))}\n")
            return
        gc.collect()  # imported modules are left out of later collections, which run less often: saves 2 µs a job
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        worker.threads = threads = JobThreads(worker.max_jobs + worker.settings.webhook_slots)
        loop.set_default_executor(threads)
        worker.run()
    except ConfigurationError as error:
        sys.stderr.write(f"arqway worker: {error}\n")
        code = 2
    except DutyError:  # already logged, with the duty's name and the cause
        code = 1
    if threads is not None and not threads.stopped(_THREADS_S):
        logger.warning("Threads of jobs that have ended still run; the process ends without them")
        logging.shutdown()
        os._exit(code)
    if code:
        sys.exit(code)


def _make_worker(options: argparse.Namespace, settings: Settings) -> JobWorker:
    if options.arq is not None:
        return arq_worker(options.arq, _settings(settings, options), options.id)
    name = options.target or settings.jobs
    target = load_target(name)
    if not target.registry:
        raise ConfigurationError(f"{name} has no jobs, so there is nothing to run")
    settings = _settings(target.settings or settings, options)
    if settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set; `arqway worker` starts a server of its own")
    return JobWorker(registry=target.registry, settings=settings, worker_id=options.id)


def _settings(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings with the command-line options of this process applied."""
    if options.health_port is not None:
        settings = settings.model_copy(update={"worker_health_port": options.health_port})
    if options.redis_url is not None:
        settings = settings.model_copy(update={"redis_url": SecretStr(options.redis_url)})
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m arqway.workers", description="Run one worker process.")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="package.module:NAME (ARQWAY_JOBS)")
    parser.add_argument("--id", help="name of this process in records; never used before")
    parser.add_argument("--arq", metavar="NAME", help="run a stock arq WorkerSettings: module.WorkerSettings")
    parser.add_argument("--describe", action="store_true", help="with --arq: only load them, and print what they are")
    parser.add_argument("--health-port", type=int, metavar="PORT", help="instead of ARQWAY_WORKER_HEALTH_PORT")
    parser.add_argument("--redis-url", metavar="URL", help="the server, instead of REDIS_URL; others can see it")
    parser.add_argument("--lifeline", type=int, metavar="FD", help="pipe that ends with the process that started this")
    return parser


if __name__ == "__main__":
    run(sys.argv[1:])
