"""Who is measured: how each worker is started, and how many jobs it gets so that a drain takes a few seconds."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv" / "peers"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One library with one configuration. Its worker runs up to 100 jobs at a time unless its name says otherwise."""

    name: str
    module: str
    worker: tuple[str, ...]
    """Program of its environment and arguments; ``{url}`` stands for the server."""
    drain: int
    """No-op jobs of a full run."""
    versions: tuple[str, ...]
    """Distributions whose versions are written down."""
    packages: tuple[str, ...] = ()
    """What its own environment is made of; empty: it lives in ours."""
    settings: dict[str, str] = field(default_factory=dict)
    """Environment variables of its worker and client."""
    waiting_key: str | None = None
    """A key that is gone once every job is settled; None where the library has none."""
    naps: bool = True
    """Whether the series of waiting jobs means anything for it."""
    enqueues: bool = True
    """Whether its client is another one's client again."""

    @property
    def programs(self) -> Path:
        """The folder of its environment's programs."""
        return PEERS / self.module.rpartition(".")[2] / "bin" if self.packages else Path(sys.executable).parent


_HERE = "benchmarks.contestants"
_ARQ = ("arq", "redis", "hiredis")

ARQWAY = Contestant(
    name="Arqway",
    module=f"{_HERE}.arqway",
    worker=("python", "-m", "arqway.workers"),
    drain=40_000,
    versions=("arqway", *_ARQ, "uvloop", "pydantic"),
    settings={"ARQWAY_JOBS": f"{_HERE}.arqway:JOBS", "ARQWAY_MAX_JOBS": "100"},
    waiting_key="arq:queue",
)
ARQ_HUNDRED = Contestant(
    name="arq, max_jobs=100",
    module=f"{_HERE}.stock_arq",
    worker=("arq", f"{_HERE}.stock_arq.HUNDRED"),
    drain=4_000,
    versions=_ARQ,
    waiting_key="arq:queue",
)
ARQ_DEFAULT = Contestant(
    name="arq as it comes, 10 jobs",
    module=f"{_HERE}.stock_arq",
    worker=("arq", f"{_HERE}.stock_arq.DEFAULT"),
    drain=1_000,
    versions=_ARQ,
    waiting_key="arq:queue",
    naps=False,
    enqueues=False,
)
FLOOR = Contestant(
    name="floor, a task for each job",
    module=f"{_HERE}.floor",
    worker=("python", "-m", f"{_HERE}.floor"),
    drain=100_000,
    versions=("redis", "hiredis", "uvloop"),
    waiting_key="floor:active",
    enqueues=False,
)
FLOOR_INLINE = Contestant(
    name="floor, one after the other",
    module=f"{_HERE}.floor",
    worker=("python", "-m", f"{_HERE}.floor", "inline"),
    drain=150_000,
    versions=("redis", "hiredis", "uvloop"),
    waiting_key="floor:active",
    naps=False,
    enqueues=False,
)
OURS = (ARQWAY, ARQ_DEFAULT, ARQ_HUNDRED, FLOOR, FLOOR_INLINE)


def _peer(name: str, module: str, worker: str, drain: int, packages: str) -> Contestant:
    wanted = tuple(packages.split())
    return Contestant(
        name=name,
        module=f"{_HERE}.{module}",
        worker=tuple(worker.split()),
        drain=drain,
        versions=(*(package.partition("[")[0] for package in wanted), "redis"),
        packages=wanted,
    )


OTHERS = (
    _peer(
        "Dramatiq, 100 threads",
        "dramatiq",
        f"dramatiq {_HERE}.dramatiq --processes 1 --threads 100",
        10_000,
        "dramatiq[redis] hiredis",
    ),
    _peer("SAQ", "saq", f"saq {_HERE}.saq.SETTINGS --quiet", 8_000, "saq[redis,hiredis] typing_extensions uvloop"),
    _peer(
        "Taskiq, stream",
        "taskiq",
        f"taskiq worker {_HERE}.taskiq:broker --workers 1 --max-async-tasks 100",
        6_000,
        "taskiq taskiq-redis hiredis uvloop",
    ),
    _peer("streaQ", "streaq", f"streaq run {_HERE}.streaq:worker", 4_000, "streaq uvloop"),
    _peer(
        "Celery, 100 threads",
        "celery",
        f"celery -A {_HERE}.celery worker --pool threads --concurrency 100",
        2_000,
        "celery[redis] hiredis",
    ),
    _peer(
        "Huey, 8 threads",
        "huey",
        f"huey_consumer {_HERE}.huey.huey --workers 8 --worker-type thread",
        6_000,
        "huey redis hiredis",
    ),
    _peer(
        "Docket",
        "docket",
        # A hundred connections, redis-py's own limit by now, are fewer than a hundred jobs need.
        f"docket worker --docket benchmarks --url {{url}}?max_connections=500 --tasks {_HERE}.docket:tasks "
        "--concurrency 100",
        3_000,
        "pydocket hiredis uvloop",
    ),
)
