"""``arqway demo``: one report from submission to PDF, on a temporary stack of its own."""

import asyncio
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter

from arqway.service.cli.api_client import follow, open_api, until_ready
from arqway.service.cli.environment import embedded_server, read_target
from arqway.service.cli.stack import Stack, StopRequested
from arqway.service.cli.terminal import WRONG_INPUT, CommandError, progress_view, say
from arqway.service.cli.up import api_part, base_url, free_port
from arqway.service.client.views import read_object
from arqway.workers.processes.target import OURS
from arqway.workers.processes.workers import worker_part
from arqway.workers.settings import make_private

CUSTOMER = 14_048
FOLDER = Path("demo")
_HOST = "127.0.0.1"


def demo(arguments: Namespace) -> None:
    """Start a stack on a free port, make the report, download it, stop the stack, and print how long each step took."""
    target, settings = read_target("demo", OURS)
    home = settings.home.absolute() / "demo"
    settings = settings.model_copy(update={"home": home, "processes": 1, "worker_health_port": None})
    pdf = FOLDER / f"report-{CUSTOMER}.pdf"
    try:
        FOLDER.mkdir(exist_ok=True)
    except OSError as error:
        raise CommandError(f"the folder {FOLDER.absolute()} cannot be made: {error.strerror}", WRONG_INPUT) from None
    port = free_port()
    laps = [("", perf_counter())]

    def lap(step: str) -> None:
        laps.append((step, perf_counter()))

    with embedded_server(settings, share=False) as server:
        if server:
            lap("embedded server started")
        make_private(home)
        shutil.rmtree(home / "reports", ignore_errors=True)  # else a second demo would find its report already finished
        worker = replace(worker_part(settings, target, server), log=home / "worker.log")
        parts = [api_part(target, server, log=home / "api.log"), worker]
        stack = Stack(parts, settings, server, restarts=0, environment=_environment(home, port))
        try:
            pdf.write_bytes(asyncio.run(_make_report(stack, base_url(_HOST, port), lap)))
        except StopRequested:
            raise KeyboardInterrupt from None
    lap("everything stopped")
    times = [f"{ended_s - began_s:6.2f} s  {step}" for (_, began_s), (step, ended_s) in pairwise(laps)]
    total = f"{laps[-1][1] - laps[0][1]:6.2f} s  in all"
    say("\n".join(["", *times, total, "", f"The report of customer {CUSTOMER} is in {pdf}"]))


def _environment(home: Path, port: int) -> dict[str, str]:
    """Return environment variables that isolate the demo from a stack that is already running."""
    own = {"ARQWAY_HOME": str(home), "ARQWAY_HOST": _HOST, "ARQWAY_PORT": str(port)}
    inherited = {name: value for name, value in os.environ.items() if name != "ARQWAY_WORKER_HEALTH_PORT"}
    return {**inherited, **own, "ARQWAY_AUTH": "off", "ARQWAY_QUEUES": "default"}


async def _make_report(stack: Stack, url: str, lap: Callable[[str], None]) -> bytes:
    async with stack, open_api(url) as api:
        await stack.run(until_ready(url))
        lap("API ready")
        accepted = await stack.run(api.request("POST", "/reports", json={"user_id": CUSTOMER}))
        job_id = str(read_object(accepted.content)["task_id"])
        say(f'POST {url}/reports {{"user_id": {CUSTOMER}}}\n202  job {job_id}\n')
        lap("report submitted")
        with progress_view() as show:
            job = await stack.run(follow(api, job_id, show))
        if not job.succeeded:
            raise CommandError(f"the report was not made: {job.failure.message if job.failure else job.state}")
        lap("report made")
        pdf = (await stack.run(api.request("GET", f"/reports/{job_id}/file"))).content
        lap("PDF downloaded")
    return pdf
