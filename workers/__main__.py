"""``python -m workers``: run one worker process until it is told to stop."""

import asyncio
import sys

from workers.contract.errors import ConfigurationError
from workers.definition import load_registry
from workers.engine.worker import JobWorker
from workers.logs import configure_logs
from workers.settings import Settings, read_settings


def run() -> None:
    """Run a worker. Exits with 2 and one line if the configuration cannot work."""
    try:
        settings = read_settings(Settings)
        configure_logs(settings.log_level, settings.log_format)
        registry = load_registry(settings.jobs)
        asyncio.set_event_loop(_new_event_loop())
        worker = JobWorker(registry, settings)
    except ConfigurationError as error:
        sys.exit(_refuse(str(error)))
    worker.run()


def _refuse(reason: str) -> int:
    sys.stderr.write(f"arqway worker: {reason}\n")
    return 2


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not made for this platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    run()
