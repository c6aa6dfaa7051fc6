"""``arqway demo``: one report from submission to PDF, on a temporary stack of its own."""

import asyncio
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from arqway.service.cli.api_client import ReportClient, follow, open_api, until_ready
from arqway.service.cli.listening import base_url, free_port
from arqway.service.cli.progress import progress_view
from arqway.service.cli.redis_server import embedded_server
from arqway.service.cli.stack import Stack, StopRequested, api_part
from arqway.service.cli.terminal import INTERRUPTED, WRONG_INPUT, CommandError, say
from arqway.service.cli.up import READY_WITHIN_S
from arqway.service.cli.variables import read_target
from arqway.service.client import Job
from arqway.workers.processes.target import OURS
from arqway.workers.processes.workers import worker_part

CUSTOMER = 14_048
FOLDER = Path("demo")
_HOST = "127.0.0.1"


class _Stopwatch:
    """Measures the time of consecutive named steps."""

    def __init__(self) -> None:
        self._started_s = self._lap_s = perf_counter()
        self._laps: list[str] = []

    def lap(self, step: str) -> None:
        """End the current step and begin the next one."""
        now_s = perf_counter()
        self._laps.append(f"{now_s - self._lap_s:6.2f} s  {step}")
        self._lap_s = now_s

    def table(self) -> str:
        """Return a line for each step, and the total."""
        return "\n".join([*self._laps, f"{self._lap_s - self._started_s:6.2f} s  in all"])


def demo() -> int:
    """Start a stack on a free port, make the report, download it, stop the stack, and print how long each step took."""
    target, settings = read_target("demo", OURS)
    settings = settings.model_copy(update={"processes": 1, "worker_health_port": None})
    home = settings.home.absolute() / "demo"
    pdf = _target()
    port = free_port()
    watch = _Stopwatch()
    with ExitStack() as resources:
        server = None
        if settings.redis_url is None:
            server = resources.enter_context(embedded_server(home, share=False))
            watch.lap("embedded server started")
        home.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home / "reports", ignore_errors=True)  # else a second demo would find its report already finished
        worker = replace(worker_part(settings, target, server), log=home / "worker.log")
        parts = [api_part(target, server=server, log=home / "api.log"), worker]
        stack = Stack(parts, settings, server, restarts=0, changes=_changes(home, port))
        try:
            pdf.write_bytes(asyncio.run(_make_report(stack, base_url(_HOST, port), watch)))
        except StopRequested:
            return INTERRUPTED
    watch.lap("everything stopped")
    say(f"\n{watch.table()}\n\nThe report of customer {CUSTOMER} is in {pdf}")
    return 0


def _changes(home: Path, port: int) -> Mapping[str, str | None]:
    """Return the environment variables that isolate the demo from a stack that is already running."""
    return {
        "ARQWAY_HOME": str(home),
        "ARQWAY_HOST": _HOST,
        "ARQWAY_PORT": str(port),
        "ARQWAY_AUTH": "off",
        "ARQWAY_QUEUES": "default",
        "ARQWAY_WORKER_HEALTH_PORT": None,
    }


def _target() -> Path:
    try:
        FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        raise CommandError(f"the folder {FOLDER.absolute()} cannot be made: {error.strerror}", WRONG_INPUT) from None
    return FOLDER / f"report-{CUSTOMER}.pdf"


async def _make_report(stack: Stack, url: str, watch: _Stopwatch) -> bytes:
    async with stack, open_api(url) as api:
        await stack.run(until_ready(url, READY_WITHIN_S))
        watch.lap("API ready")
        reports = ReportClient(api)
        job_id = await stack.run(reports.submit(CUSTOMER))
        say(f'POST {url}/reports {{"user_id": {CUSTOMER}}}\n202  job {job_id}\n')
        watch.lap("report submitted")
        with progress_view() as show:
            job = await stack.run(follow(api, job_id, show))
        if not job.succeeded:
            raise CommandError(f"the report was not made: {_reason(job)}")
        watch.lap("report made")
        pdf = await stack.run(reports.download(job_id))
        watch.lap("PDF downloaded")
    return pdf


def _reason(job: Job[Any]) -> str:
    return job.failure.message if job.failure else job.state
