"""``python -m arqway.workers``: one worker process, until it is told to stop. ``arqway worker`` keeps some running."""

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Sequence

from arqway.workers.background import DutyError
from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.arq_settings import arq_worker, describe
from arqway.workers.engine.worker import JobWorker
from arqway.workers.logs import configure_logs
from arqway.workers.processes.lifeline import end_with_parent
from arqway.workers.registry import load_registry
from arqway.workers.settings import Settings, read_settings


def run(arguments: Sequence[str] = ()) -> None:
    """Run a worker. Exits with 2 and one line if the configuration cannot work, with 1 if a duty keeps failing."""
    options = _parser().parse_args(arguments)
    try:
        settings = _read_settings(needs_server=options.arq is None)
        if options.lifeline is not None:
            end_with_parent(options.lifeline, within_s=settings.stop_within_s)
        configure_logs(settings.log_level, settings.log_format)
        asyncio.set_event_loop(_new_event_loop())
        worker = _make_worker(options, settings)
        if options.describe:
            sys.stdout.write(f"\n{json.dumps(describe(worker))}\n")
            return
        _collect_less_often()
        worker.run()
    except ConfigurationError as error:
        sys.exit(_refuse(str(error)))
    except DutyError:  # the log says which, and why
        sys.exit(1)


def _make_worker(options: argparse.Namespace, settings: Settings) -> JobWorker:
    if options.arq is not None:
        return arq_worker(options.arq, settings, options.id)
    return JobWorker(registry=load_registry(settings.jobs), settings=settings, worker_id=options.id)


def _read_settings(*, needs_server: bool) -> Settings:
    settings = read_settings(Settings)
    if needs_server and settings.redis_url is None:
        raise ConfigurationError("REDIS_URL is not set; `arqway worker` starts a server of its own")
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m arqway.workers", description="Run one worker process.")
    parser.add_argument("--id", help="name of this process in records; never used before")
    parser.add_argument("--arq", metavar="NAME", help="run a stock arq WorkerSettings: module.WorkerSettings")
    parser.add_argument("--describe", action="store_true", help="with --arq: only load them, and print what they are")
    parser.add_argument("--lifeline", type=int, metavar="FD", help="pipe that ends with the process that started this")
    return parser


def _refuse(reason: str) -> int:
    sys.stderr.write(f"arqway worker: {reason}\n")
    return 2


def _collect_less_often() -> None:
    """Leave what was imported out of garbage collection, and collect by tens of thousands: 2 µs less for each job."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for this platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    run(sys.argv[1:])
