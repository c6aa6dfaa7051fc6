"""How much load: a full run, or a quick look."""

from dataclasses import dataclass

from benchmarks.sizes import Turns


@dataclass(frozen=True, kw_only=True)
class HttpSizes(Turns):
    """Figures are for one contestant in one run."""

    load_s: int = 8
    """How long wrk sends requests; it does so for a second before, which is not measured."""
    batch_jobs: int = 1_000
    """Jobs in a request to ``/jobs:batch``."""
    streams: int = 5_000
    idle_s: float = 20.0
    """How long the streams are watched while nothing happens; each has a heartbeat meanwhile."""
    subscribers: int = 1_000
    reports: int = 40
    report_every_s: float = 0.25
    few_jobs: int = 1_000
    many_jobs: int = 1_000_000
    lists: int = 200
    """Requests for each kind of list."""


FULL = HttpSizes()
QUICK = HttpSizes(
    runs=1,
    load_s=2,
    streams=1_000,
    idle_s=1,
    subscribers=200,
    reports=10,
    many_jobs=20_000,
    lists=50,
)
