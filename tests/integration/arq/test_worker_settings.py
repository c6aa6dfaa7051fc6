"""A stock ``WorkerSettings`` is found, checked and obeyed: whatever arq takes for one, and no more."""

import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from arq.jobs import Job

from arqway.workers.contract.errors import ConfigurationError
from arqway.workers.engine.arq_settings import arq_worker, describe, open_described
from arqway.workers.engine.worker import JobWorker
from arqway.workers.settings import Settings
from arqway.workers.store.connection import open_redis
from tests.support.arq_shop import MakeModule
from tests.support.arq_workers import submitted

LoadWorker = Callable[[str], JobWorker]

_HEAD = """
from arq.connections import ArqRedis, RedisSettings
from arqway.workers.store.connection import open_redis

async def add(ctx, a, b=0):
    return a + b
"""
_FORMS = {
    "class": ("class WorkerSettings:\n    functions = [add]\n    burst = True", "{}.WorkerSettings"),
    "class after a colon": ("class WorkerSettings:\n    functions = [add]\n    burst = True", "{}:WorkerSettings"),
    "dict": ('settings = {"functions": [add], "burst": True, "other": 1}', "{}.settings"),
    "object": (
        "class Any:\n    pass\nsettings = Any()\nsettings.functions = [add]\nsettings.burst = True",
        "{}.settings",
    ),
    "names of functions": ("settings = {{'functions': [f'{{__name__}}.add'], 'burst': True}}", "{}.settings"),
}


@pytest.fixture
async def load(settings: Settings) -> AsyncIterator[LoadWorker]:
    """Makes workers of settings by their names, and closes them."""
    made: list[JobWorker] = []

    def make(name: str) -> JobWorker:
        made.append(arq_worker(name, settings))
        return made[-1]

    yield make
    for worker in made:
        await worker.close()


@pytest.mark.parametrize("form", _FORMS)
async def test_whatever_arq_takes_for_settings_runs(
    form: str, arq: ArqRedis, load: LoadWorker, make_module: MakeModule
) -> None:
    """A class, an object or a dict, by a dot or a colon; without a server of its own it is the one in REDIS_URL."""
    code, name = _FORMS[form]
    module = make_module(_HEAD + code.replace("{{", "{").replace("}}", "}"))
    function = f"{module}.add" if "names" in form else "add"
    job = await submitted(arq, function, 1, b=2)
    worker = load(name.format(module))
    await worker.async_run()
    assert await job.result(timeout=1) == 3


async def test_an_option_left_out_is_arqs_own_and_one_given_wins(settings: Settings, make_module: MakeModule) -> None:
    """Ten jobs at a time, as with arq, unless the class or ARQWAY_MAX_JOBS says otherwise; the rest is as given."""
    code = "class Plain:\n    functions = [add]\nclass Own:\n    functions = [add]\n    max_jobs = 3\n"
    own = "job_timeout=7, keep_result=8, max_tries=2, allow_abort_jobs=True, retry_jobs=False, health_check_key='h'"
    module = make_module(f"{_HEAD}{code}all = dict(functions=[add], ctx={{'k': 1}}, queue_name='our:jobs', {own})\n")
    changed = Settings.model_validate({**settings.model_dump(exclude_unset=True), "max_jobs": 4})
    found = [arq_worker(f"{module}.{name}", given) for name in ("Plain", "Own") for given in (settings, changed)]
    assert [worker.max_jobs for worker in found] == [10, 4, 3, 3]
    worker = arq_worker(f"{module}.all", settings)
    assert (worker.queues, worker.job_timeout_s, worker.keep_result_s, worker.max_tries) == (("=our:jobs",), 7, 8, 2)
    assert (worker.ctx, worker.health_check_key, worker.retry_jobs) == ({"k": 1}, "h", False)


_EXTENDED = """
import json
import re
from datetime import date

class Encoder(json.JSONEncoder):
    def default(self, value):
        return {"__date__": value.isoformat()} if isinstance(value, date) else super().default(value)

def hook(value):
    return date.fromisoformat(value["__date__"]) if "__date__" in value else value

def write(value):
    return json.dumps(value, cls=Encoder).encode()

def read(raw):
    return json.loads(raw, object_hook=hook)

async def next_year(ctx, day):
    return day.replace(year=day.year + 1)

class WorkerSettings:
    functions = [next_year]
    job_serializer = write
    job_deserializer = read
    burst = True
"""


async def test_json_serializers_of_their_own_are_obeyed(
    arq: ArqRedis, load: LoadWorker, make_module: MakeModule, redis_url: str
) -> None:
    """Arguments pass through their deserializer and results through their serializer, so both keep their types."""

    def write(value: dict[str, Any]) -> bytes:
        return json.dumps(value, default=lambda day: {"__date__": day.isoformat()}).encode()

    def read(raw: bytes) -> dict[str, Any]:
        found = json.loads(raw, object_hook=lambda v: date.fromisoformat(v["__date__"]) if "__date__" in v else v)
        return dict(found)

    module = make_module(_EXTENDED)
    client = open_redis(redis_url)
    client.job_serializer, client.job_deserializer = write, read
    job = await submitted(client, "next_year", date(2026, 3, 1))
    worker = load(f"{module}.WorkerSettings")
    await worker.async_run()
    assert await job.result(timeout=1) == date(2027, 3, 1)
    record = await worker.store.read(job.job_id)
    assert record is not None
    assert record.result == {"__date__": "2027-03-01"}
    await client.aclose()


async def test_a_pool_of_their_own_speaks_json(load: LoadWorker, make_module: MakeModule, redis_url: str) -> None:
    """With ``redis_pool``, what a job enqueues by ``ctx['redis']`` is JSON, although arq's pools pickle by default."""
    code = f"""
async def first(ctx):
    await ctx["redis"].enqueue_job("add", 20, b=1)

class WorkerSettings:
    functions = [first, add]
    redis_pool = ArqRedis.from_url({redis_url!r})
    burst = True
"""
    worker = load(f"{make_module(_HEAD + code)}.WorkerSettings")
    await submitted(worker.pool, "first")
    await worker.async_run()
    assert (worker.jobs_complete, worker.jobs_failed) == (2, 0)


@pytest.mark.parametrize("form", ["settings", "pool"])
async def test_the_supervisor_is_told_where_the_jobs_are(
    form: str, settings: Settings, make_module: MakeModule, redis_url: str
) -> None:
    """What ``describe`` tells survives JSON, and leads to the same server and database."""
    server = {
        "settings": f"redis_settings=RedisSettings.from_dsn({redis_url!r})",
        "pool": f"redis_pool=ArqRedis.from_url({redis_url!r})",
    }[form]
    module = make_module(f"{_HEAD}\nsettings = dict(functions=[add], burst=True, queue_name='q', {server})\n")
    worker = arq_worker(f"{module}.settings", settings)
    queues, burst, described = json.loads(json.dumps(describe(worker)))
    async with await open_described(described, tries=1) as redis, open_redis(redis_url) as same:
        await same.set("mark", "1", ex=60)
        found = await redis.get("mark")
    assert (queues, burst, found) == (["=q"], True, b"1")


_AT = r"{0}\.py:\d+: "
_WRONG = {
    "raise ValueError('a\\nb')": f"{_AT}ValueError: a b",
    "import no_such_module": f"{_AT}ModuleNotFoundError: No module named 'no_such_module'",
    "redis_settings = RedisSettings.from_dsn('x://')": f"{_AT}RuntimeError: invalid DSN scheme",
    "functions = [nothing]": f"{_AT}NameError: name 'nothing' is not defined",
    "functions = [": f"{_AT}SyntaxError: .*",
    "raise SystemExit('stop')": f"{_AT}SystemExit: stop",
    "functions = [len]": "RuntimeError: <built-in function len> is not a coroutine function",
    "max_jobs = 'ten'": "TypeError: .*",
    "functions = ['no_such_module.add']": "ModuleNotFoundError: No module named 'no_such_module'",
    "functions = []": "names neither functions nor cron_jobs",
    "import pickle; job_serializer = pickle.dumps": "its job_serializer does not write plain JSON",
    "import pickle; job_deserializer = pickle.loads": "its job_deserializer does not read plain JSON",
    "job_serializer = lambda value: b'\\x81\\xa1t\\x01'": "its job_serializer does not write plain JSON",
}


@pytest.mark.parametrize("body", _WRONG)
async def test_what_is_wrong_is_told_in_one_line(body: str, settings: Settings, make_module: MakeModule) -> None:
    """File and line in the user's own code and, last, the cause; never a traceback, nor a second line."""
    module = make_module(f"{_HEAD}\nclass WorkerSettings:\n    functions = [add]\n    {body}\n")
    with pytest.raises(ConfigurationError, match=_WRONG[body].format(module)) as refused:
        arq_worker(f"{module}.WorkerSettings", settings)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"--arq {module}.WorkerSettings")


async def test_a_name_that_leads_nowhere_is_told(settings: Settings, make_module: MakeModule) -> None:
    """No module, no attribute, no name at all, and something that is no settings."""
    module = make_module(f"{_HEAD}\nnumber = 7\n")
    wrong = {
        "no_such_shop.WorkerSettings": "there is no module no_such_shop",
        f"{module}.inner.WorkerSettings": f"there is no module {module}.inner",
        f"{module}.Settings": f"{module} has no Settings",
        f"{module}.number": "names neither functions nor cron_jobs",
        "WorkerSettings": "not a name like module.WorkerSettings",
        "": "not a name like",
    }
    for name, reason in wrong.items():
        with pytest.raises(ConfigurationError, match=reason):
            arq_worker(name, settings)


async def test_the_innermost_file_of_the_users_own_is_blamed(settings: Settings, make_module: MakeModule) -> None:
    """An error in a module that the settings' module imports is told with that module's line, not the import's."""
    inner = make_module("import json\n\njson.loads('nonsense')\n")
    outer = make_module(f"import {inner}\n")
    with pytest.raises(ConfigurationError, match=rf": {inner}\.py:3: JSONDecodeError: "):
        arq_worker(f"{outer}.WorkerSettings", settings)


async def test_timezone_and_cron_are_theirs(
    arq: ArqRedis, load: LoadWorker, make_module: MakeModule, settings: Settings
) -> None:
    """A cron job is enqueued by their clock, as JSON, and runs."""
    code = """
from datetime import timedelta, timezone

from arq import cron

ran = []

async def tick(ctx):
    ran.append(ctx["job_id"])

class WorkerSettings:
    cron_jobs = [cron(tick, name="tick", second=set(range(60)), run_at_startup=True)]
    timezone = timezone(timedelta(hours=5))
"""
    module = make_module(code)
    worker = load(f"{module}.WorkerSettings")
    assert datetime.now(UTC).astimezone(worker.timezone).utcoffset() == timedelta(hours=5)
    await worker._open_pool()
    await worker.heart_beat()
    ids = await arq.zrange("arq:queue", 0, -1)
    assert ids
    job = Job(ids[0].decode(), arq, _deserializer=arq.job_deserializer)
    info = await job.info()
    assert info is not None
    assert info.function == "tick"
    await arq.delete("arq:queue", *(f"arq:job:{found.decode()}" for found in ids))


async def test_a_module_that_is_installed_elsewhere_is_blamed_too(
    settings: Settings, make_module: MakeModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own line, with the whole path, and not that of the library that it called wrongly."""
    module = make_module("import json\n\n\ndef read():\n    return json.loads('nonsense')\n\n\nread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    place = re.escape(f"{tmp_path / module}.py:5: ")
    with pytest.raises(ConfigurationError, match=f": {place}JSONDecodeError: "):
        arq_worker(f"{module}.WorkerSettings", settings)
