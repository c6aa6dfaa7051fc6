"""Submits jobs from a process of its own, in the contestant's environment: ``python -m benchmarks.send MODULE WAY …``.

Prints one JSON object: how many jobs were submitted and how long it took. Ways:

==============  ====================================================================================================
``fill``        as fast as the library can: its bulk way if it has one, else ``concurrent``
``bulk``        the library's own way for many jobs
``concurrent``  50 calls under way at a time: asyncio tasks, or threads where the library has no asyncio
``sequential``  one call after the other
``trickle``     one call at a time with random pauses, each job told when it was sent
==============  ====================================================================================================
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from random import Random
from typing import Any

from benchmarks.contestants import Client

AT_A_TIME = 50
PAUSE_S = (0.01, 0.06)
_WARM_UP = 100

Call = Callable[[str, float], Awaitable[Any]]


async def _bulk(client: Client, call: Call, kind: str, jobs: int) -> None:
    assert client.submit_many is not None, "the library has no way for many jobs"  # noqa: S101 - a mistake of ours
    await client.submit_many(kind, jobs)


async def _concurrent(client: Client, call: Call, kind: str, jobs: int) -> None:
    if client.submit_blocking is not None:
        submit = client.submit_blocking
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            list(threads.map(lambda _: submit(kind, 0.0), range(jobs)))
        return
    turns = iter(range(jobs))

    async def caller() -> None:
        for _ in turns:
            await call(kind, 0.0)

    await asyncio.gather(*(caller() for _ in range(AT_A_TIME)))


async def _sequential(client: Client, call: Call, kind: str, jobs: int) -> None:
    for _ in range(jobs):
        await call(kind, 0.0)


async def _trickle(client: Client, call: Call, kind: str, jobs: int, *, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same pauses for every contestant
    for _ in range(jobs):
        await asyncio.sleep(random.uniform(*PAUSE_S))
        await call(kind, time.monotonic())


async def _fill(client: Client, call: Call, kind: str, jobs: int) -> None:
    await (_bulk if client.submit_many else _concurrent)(client, call, kind, jobs)


def _ways(seed: int) -> dict[str, Callable[[Client, Call, str, int], Awaitable[None]]]:
    return {
        "fill": _fill,
        "bulk": _bulk,
        "concurrent": _concurrent,
        "sequential": _sequential,
        "trickle": partial(_trickle, seed=seed),
    }


def _call_of(client: Client) -> Call:
    if client.submit is not None:
        return client.submit
    submit = client.submit_blocking
    assert submit is not None  # noqa: S101 - a mistake of ours

    async def call(kind: str, sent_s: float) -> None:
        submit(kind, sent_s)

    return call


async def _send(module: str, way: str, kind: str, jobs: int, seed: int) -> dict[str, float]:
    async with import_module(module).client() as client:
        call, send = _call_of(client), _ways(seed)[way]
        if way in {"bulk", "concurrent", "sequential"}:
            await send(client, call, kind, _WARM_UP)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        await send(client, call, kind, jobs)
        return {"jobs": jobs, "seconds": time.perf_counter() - began_s, "cpu_seconds": time.process_time() - cpu_s}


def _run(program: Coroutine[Any, Any, dict[str, float]]) -> dict[str, float]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(program)
    return uvloop.run(program)


def main() -> None:
    """Submit, and say how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.send", description="Submit jobs as one contestant does."
    )
    parser.add_argument("module")
    parser.add_argument("way", choices=_ways(0))
    parser.add_argument("kind", choices=["noop", "nap", "compute"])
    parser.add_argument("jobs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sent = _run(_send(asked.module, asked.way, asked.kind, asked.jobs, asked.seed))
    sys.stdout.write(json.dumps(sent) + "\n")


if __name__ == "__main__":
    main()
