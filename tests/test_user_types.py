"""What users write passes ``mypy --strict`` as it comes, without the plugin of pydantic."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PROGRAM = '''
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, SecretStr

from arqway import JobContext, JobQueue, Registry, RetryPolicy, job
from arqway.service.settings import ServiceSettings
from arqway.workers.jobs.report.settings import ReportSettings
from arqway.workers.settings import Settings


class Guest(BaseModel):
    name: str


@job("greeting.write", timeout=timedelta(seconds=5), retry=RetryPolicy(max_attempts=3, on=(OSError,)))
async def write_greeting(ctx: JobContext, payload: Guest) -> str:
    """Greet one guest."""
    await ctx.progress(1, total=1, message="Found the words")
    return f"Good morning, {payload.name}!"


JOBS = Registry([write_greeting])
WORKER = Settings()
REMOTE = Settings(redis_url=SecretStr("redis://127.0.0.1"), home=Path("data"), queues=("default", "slow"), lease_s=5)
SERVICE = ServiceSettings(host="127.0.0.1", port=0, trusted_hosts=("shop.test",))
REPORTS = ReportSettings(typesetters=1)
PORT: int = SERVICE.port


async def submit(jobs: JobQueue) -> str:
    return (await jobs.submit(write_greeting, Guest(name="Ada"))).id


ServiceSettings(hots="127.0.0.1")  # type: ignore[call-arg]
Settings(lease_s="long")  # type: ignore[arg-type]
Registry([Guest])  # type: ignore[list-item]
'''


def test_settings_jobs_and_registries_type_check_in_a_users_program(tmp_path: Path) -> None:
    """Settings without and with arguments, a registry and a job; and a wrong argument is still an error."""
    program = tmp_path / "shop.py"
    program.write_text(_PROGRAM)
    cache = f"--cache-dir={tmp_path / 'cache'}"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", cache, "shop.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("Success: no issues found in 1 source file\n", 0)
