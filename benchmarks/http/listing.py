"""``GET /jobs`` with few and with many jobs: without a filter, with each filter, and deep in the list."""

import re
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from benchmarks.figures import percentile
from benchmarks.http import seed
from benchmarks.http.measure import api_of
from benchmarks.http.site import Answer, Site
from benchmarks.http.sizes import HttpSizes
from benchmarks.measure import Figures
from benchmarks.stage import Stage, Stalled

PAGE = 50
FILTERS: Mapping[str, str] = {
    "none": "",
    "state_common": "&state=queued",
    "state_rare": "&state=failed",
    "kind_common": "&kind=noop",
    "kind_rare": "&kind=rare",
    "tag_common": "&tag=common",
    "tag_rare": "&tag=seldom",
    "tag_and_state": "&tag=common&state=queued",
    "tag_in_vain": "&tag=common&state=failed",
}
"""``tag_in_vain`` is the worst there is: no tagged job has failed, and a page looks at many of them to find none."""
DEEP = "deep"

_WARM_UP = 5
_FINISHED, _TAGGED, _RARE = 10, 10, 1_000
"""One job in so many has finished, is tagged, is of the rare kind, has the rare tag, has failed."""
_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_DRAIN_WITHIN_S = 120.0


def listing(stage: Stage, sizes: HttpSizes, run: int) -> Figures:
    """Time single requests, one after the other, at both numbers of jobs."""
    figures: Figures = {}
    for name, jobs in (("few", sizes.few_jobs), ("many", sizes.many_jobs)):
        stage.clear()
        began_s = time.monotonic()
        _fill(stage, jobs)
        figures[f"seed_{name}_s"] = time.monotonic() - began_s
        with api_of(stage) as site:
            figures |= {f"{key}_{name}_ms": value for key, value in _lists(site, sizes.lists).items()}
    return figures


def _fill(stage: Stage, jobs: int) -> None:
    """Submit the jobs; a worker ends those that are to have finished, before the others come."""
    url, finished = stage.server.url, jobs // _FINISHED
    rare = max(1, jobs // _RARE)
    seed.submit(url, "failing", rare)
    seed.submit(url, "noop", finished - rare)
    with stage.workers():
        _await_drained(stage)
    seed.submit(url, "rare", rare)
    seed.submit(url, "noop", rare, tags=["seldom"])
    seed.submit(url, "noop", jobs // _TAGGED, tags=["common"])
    seed.submit(url, "noop", jobs - finished - jobs // _TAGGED - 2 * rare)


def _await_drained(stage: Stage) -> None:
    deadline_s = time.monotonic() + _DRAIN_WITHIN_S
    while stage.server.has("arq:queue"):
        if time.monotonic() > deadline_s:
            raise Stalled(f"the worker has not ended its jobs; {stage.last_words()}")
        time.sleep(0.02)


def _lists(site: Site, requests: int) -> Figures:
    figures: Figures = {}
    for name, query in FILTERS.items():
        path = f"/jobs?limit={PAGE}{query}"
        figures |= _timed(name, (_get(site, path)[0] for _ in range(_WARM_UP + requests)))
    return figures | _timed(DEEP, _pages(site, _WARM_UP + requests))


def _pages(site: Site, pages: int) -> Iterator[float]:
    """Follow the links to the next page, from the first one again where there is none."""
    path = first = f"/jobs?limit={PAGE}"
    for _ in range(pages):
        took_ms, answer = _get(site, path)
        yield took_ms
        found = _NEXT.search(answer.headers.get("link", ""))
        path = _path(found[1]) if found else first


def _path(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def _get(site: Site, path: str) -> tuple[float, Answer]:
    began_s = time.perf_counter()
    answer = site.expect(200, "GET", path)
    return (time.perf_counter() - began_s) * 1000, answer


def _timed(name: str, times_ms: Iterator[float]) -> Figures:
    counted = list(times_ms)[_WARM_UP:]
    return {f"{name}_p50": percentile(counted, 0.5), f"{name}_p99": percentile(counted, 0.99)}
