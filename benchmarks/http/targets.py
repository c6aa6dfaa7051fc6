"""What the service is to reach over HTTP. Issue 4 names the bounds, but for those of lists, which are our own. Pure."""

from benchmarks.http.listing import DEEP, FILTERS
from benchmarks.http.roster import ARQWAY, BARE, CELERY, SAQ
from benchmarks.targets import Source, Target

BATCH_JOBS_PER_S = 15_000
LIST_P99_MS = 25

NAMES = {
    "none": "no filter",
    "state_common": "a state that most have",
    "state_rare": "a state that 1 in 1,000 has",
    "kind_common": "a kind that most have",
    "kind_rare": "a kind that 1 in 1,000 has",
    "tag_common": "a tag that 1 in 10 has",
    "tag_rare": "a tag that 1 in 1,000 has",
    "tag_and_state": "a tag and a state",
    "tag_in_vain": "a tag, and a state that no job with it has",
    DEEP: "page after page",
}
"""What each kind of list is called on the page."""


def targets() -> list[Target]:
    """Return the targets."""
    own, rate = ARQWAY.name, "per_s"
    post, read = Source("post", own, rate), Source("get", own, rate)
    bare_get = Source("get", BARE.name, rate)
    return [
        Target("POST against FastAPI alone", post, Source("post", BARE.name, rate), True, 0.55),
        Target("POST against the tutorial's way", post, Source("post", CELERY.name, rate), True, 6),
        Target("GET against FastAPI alone", read, bare_get, True, 0.6),
        Target("GET against SAQ", read, Source("get", SAQ.name, rate), True, 1),
        Target("GET, 304, against FastAPI alone, GET", Source("unchanged", own, rate), bare_get, True, 0.65),
        Target("batches: jobs a second", Source("batch", own, "jobs_per_s"), None, True, BATCH_JOBS_PER_S, ""),
        Target("open streams: Redis connections", Source("streams", own, "redis_connections"), None, False, 3, ""),
        Target("progress to many listeners, p99", Source("progress", own, "p99_ms"), None, False, 100, " ms"),
        *(_list(name) for name in (*FILTERS, DEEP)),
    ]


def _list(name: str) -> Target:
    figure = f"{name}_p99_many_ms"
    return Target(
        f"many jobs, a page, {NAMES[name]}, p99",
        Source("listing", ARQWAY.name, figure),
        None,
        False,
        LIST_P99_MS,
        " ms",
    )
