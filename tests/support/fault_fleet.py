"""Several workers in one process: ``python -m tests.support.fault_fleet N`` is a part of a large fleet."""

import asyncio
import sys
from signal import SIGTERM

from arqway.workers.engine.worker import JobWorker
from arqway.workers.logs import configure_logs
from arqway.workers.settings import Settings
from tests.support.fault_jobs import JOBS


async def serve(count: int) -> None:
    """Run so many workers until SIGTERM."""
    settings = Settings()
    configure_logs(settings.log_level, settings.log_format)
    workers = [JobWorker(registry=JOBS, settings=settings, handle_signals=False) for _ in range(count)]

    def stop() -> None:
        for worker in workers:
            worker.handle_sig(SIGTERM)

    asyncio.get_running_loop().add_signal_handler(SIGTERM, stop)
    await asyncio.gather(*(worker.async_run() for worker in workers))
    for worker in workers:
        await worker.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
