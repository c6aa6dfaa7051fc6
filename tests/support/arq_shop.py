"""A stock arq user's module, as it would be on their disk: nothing in it knows of Arqway."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

SHOP = """
import asyncio
import os
import pathlib

from arq import cron
from arq.connections import RedisSettings

HERE = pathlib.Path(__file__).parent


def note(text):
    with (HERE / "notes").open("a") as file:
        print(text, file=file)


async def startup(ctx):
    ctx["greeting"] = "Hello"
    note("started")


async def shutdown(ctx):
    note(f"stopped after {ctx['greeting']}")


async def before(ctx):
    ctx["mark"] = ctx["job_id"]


async def after(ctx):
    note(f"after {ctx['mark'] == ctx['job_id']}")


async def greet(ctx, name, *, loudly=False):
    return f"{ctx['greeting']}, {name}{'!' if loudly else '.'}"


async def hold(ctx):
    note(f"holding {os.getpid()}")
    while not (HERE / "finish").exists():
        await asyncio.sleep(0.01)
    return os.getpid()


async def tick(ctx):
    note("tick")


class WorkerSettings:
    functions = [greet, hold]
    cron_jobs = [cron(tick, run_at_startup=True, month=1, day=1, hour=4, minute=4)]
    redis_settings = RedisSettings.from_dsn(os.environ["SHOP_REDIS"])
    queue_name = "shop:jobs"
    on_startup = startup
    on_shutdown = shutdown
    on_job_start = before
    after_job_end = after
    max_jobs = 3
    job_timeout = 60
    health_check_key = "shop:health"
"""

MakeModule = Callable[[str], str]


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeModule]:
    """Writes a module into the current folder, and gives its name, which no other test uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: list[str] = []

    def make(code: str) -> str:
        made.append(f"shop_{token_hex(4)}")
        (tmp_path / f"{made[-1]}.py").write_text(code)
        return made[-1]

    yield make
    for name in made:
        sys.modules.pop(name, None)
