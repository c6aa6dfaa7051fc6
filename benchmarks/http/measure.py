"""Requests under load: one series for each kind of request. What an answer is like is looked at before the load."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from benchmarks import processes
from benchmarks.http.apps import PATH, Order
from benchmarks.http.load import CONNECTIONS, put_load
from benchmarks.http.roster import Api
from benchmarks.http.seed import make_key
from benchmarks.http.site import Site, running_api
from benchmarks.http.sizes import HttpSizes
from benchmarks.measure import Figures
from benchmarks.stage import Stage, Stalled

ORDER = Order(name="Ada", n=1).model_dump_json().encode()

_WARM_UP_S = 1
_BATCH_CONNECTIONS = 4


@contextmanager
def api_of(stage: Stage) -> Iterator[Site]:
    """Run the contestant's API inside the block, with a key if it wants one."""
    contestant = cast(Api, stage.contestant)
    headers = make_key(stage.server.url) if contestant.keyed else {}
    with running_api(stage, contestant.start, headers) as site:
        yield site


def post(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Submit one job a request."""
    with api_of(stage) as site:
        _accepted_id(site)
        return _load(stage, site, PATH, sizes.load_s, body=ORDER)


def get(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Read a job that waits."""
    with api_of(stage) as site:
        path = f"/jobs/{_accepted_id(site)}"
        site.expect(200, "GET", path)
        return _load(stage, site, path, sizes.load_s)


def unchanged(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Read a job that waits, naming the ETag it has."""
    with api_of(stage) as site:
        path = f"/jobs/{_accepted_id(site)}"
        known = {"If-None-Match": site.expect(200, "GET", path).headers.get("etag", "")}
        site.expect(304, "GET", path, headers=known)
        return _load(stage, site, path, sizes.load_s, headers=known)


def batch(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Submit many jobs a request."""
    item = {"kind": "noop", "payload": json.loads(ORDER)}
    body = json.dumps({"jobs": [item] * sizes.batch_jobs}).encode()
    with api_of(stage) as site:
        site.expect(202, "POST", "/jobs:batch", body)
        if (held := cast(int, stage.server.redis.zcard("arq:queue"))) != sizes.batch_jobs:
            raise Stalled(f"{held} of {sizes.batch_jobs} jobs of a batch are in the queue")
        figures = _load(stage, site, "/jobs:batch", sizes.load_s, body=body, connections=_BATCH_CONNECTIONS)
    return {**figures, "jobs_per_s": figures["per_s"] * sizes.batch_jobs}


def _accepted_id(site: Site) -> str:
    job_id: str = site.expect(202, "POST", PATH, ORDER).json["id"]
    return job_id


def _load(
    stage: Stage,
    site: Site,
    path: str,
    seconds: int,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    connections: int = CONNECTIONS,
) -> Figures:
    """Send the request for a while, and return what wrk, the process and the server say of it."""
    sent = {**site.headers, **(headers or {})}
    file = stage.folder / "body" if body else None
    if file and body:
        file.write_bytes(body)
    put_load(site.url(path), _WARM_UP_S, sent, body=file, connections=connections)
    before, cpu_s = stage.server.counters(), processes.cpu_s(site.process)
    seen = put_load(site.url(path), seconds, sent, body=file, connections=connections)
    counted, used_s = stage.server.counters().since(before), processes.cpu_s(site.process) - cpu_s
    return {
        "per_s": seen.per_s,
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "api_cpu_us": used_s / seen.requests * 1e6,
        "server_cpu_us": counted.cpu_s / seen.requests * 1e6,
        "round_trips": counted.reads / seen.requests,
        "commands": counted.commands / seen.requests,
        "api_memory_mb": processes.memory_mb(site.process),
    }
