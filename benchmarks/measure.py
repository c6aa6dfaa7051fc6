"""What is measured of one contestant: each series is a function of the stage and the sizes, and returns figures."""

import time
from collections.abc import Mapping, Sequence

from benchmarks import processes
from benchmarks.figures import delays_ms, percentile, rate
from benchmarks.server import Counters
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

Figures = dict[str, float]


def drain(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Drain no-op jobs with one worker; then let it idle; then send it one job now and then."""
    jobs = sizes.drained(stage.contestant.drain)
    empty_bytes = stage.server.memory_bytes()
    stage.submit("fill", "noop", sizes.warm_up + jobs)
    waiting_bytes = stage.server.memory_bytes() - empty_bytes
    with stage.workers() as (worker,):
        figures = _work_through(stage, worker, sizes.warm_up, jobs)
        finished_bytes = stage.server.memory_bytes() - empty_bytes
        figures |= _idle(stage, worker, sizes.idle_s)
        figures |= _pick_up(stage, sizes.trickled, seed=run)
    per_job = sizes.warm_up + jobs
    return {
        **figures,
        "waiting_bytes_per_job": waiting_bytes / per_job,
        "finished_bytes_per_job": finished_bytes / per_job,
    }


def naps(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Run jobs that wait 10 ms each, a hundred at a time."""
    stage.submit("fill", "nap", sizes.warm_up + sizes.naps)
    with stage.workers():
        stage.await_marks(sizes.warm_up + sizes.naps)
    return {"jobs_per_s": rate(stage.marks(sizes.warm_up))}


def enqueue(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Submit from one process while no worker runs."""
    figures: Figures = {}
    for way in ("sequential", "concurrent", *(["bulk"] if has_bulk(stage) else [])):
        stage.server.empty()
        sent = stage.submit(way, "noop", sizes.enqueued // (4 if way == "sequential" else 1))
        figures[f"{way}_per_s"] = sent["jobs"] / sent["seconds"]
    return figures


def appending(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Drain as ``drain`` does, on a server that keeps an append-only file."""
    with stage.server.appending():
        jobs = sizes.drained(stage.contestant.drain)
        stage.submit("fill", "noop", sizes.warm_up + jobs)
        with stage.workers() as (worker,):
            return _work_through(stage, worker, sizes.warm_up, jobs)


def pair(stage: Stage, sizes: Sizes, run: int) -> Figures:
    """Drain no-op jobs with two workers at a time; then, with one and with two, jobs that keep a core busy for 1 ms."""
    figures = {"jobs_per_s": _with_workers(stage, 2, "noop", sizes.drained(stage.contestant.drain), sizes.warm_up)}
    for name, workers in (("compute_one_per_s", 1), ("compute_two_per_s", 2)):
        figures[name] = _with_workers(stage, workers, "compute", sizes.computed, sizes.warm_up)
    return figures


def _with_workers(stage: Stage, workers: int, kind: str, jobs: int, warm_up: int) -> float:
    stage.clear()
    stage.submit("fill", kind, warm_up + jobs)
    with stage.workers(workers):
        stage.await_marks(warm_up + jobs)
    return rate(stage.marks(warm_up))


def has_bulk(stage: Stage) -> bool:
    """Tell whether the contestant's own API has a way for many jobs at once."""
    return stage.contestant.module.rpartition(".")[2] in {"arqway", "streaq", "docket"}


def _work_through(stage: Stage, worker: int, warm_up: int, jobs: int) -> Figures:
    stage.await_marks(warm_up)
    before, cpu_before_s, marked = stage.server.counters(), processes.cpu_s(worker), stage.marked
    stage.await_marks(warm_up + jobs)
    stage.await_settled()
    after, cpu_after_s = stage.server.counters(), processes.cpu_s(worker)
    if (done := stage.marked - marked) == 0:
        raise ValueError("all jobs had ended before the counters were read")
    return {
        "jobs_per_s": rate(stage.marks(warm_up)),
        "worker_cpu_ms_per_job": (cpu_after_s - cpu_before_s) / done * 1000,
        "worker_memory_mb": processes.memory_mb(worker),
        **_per_job(after.since(before), done),
    }


def _per_job(counted: Counters, jobs: int) -> Figures:
    return {
        "round_trips_per_job": counted.reads / jobs,
        "commands_per_job": counted.commands / jobs,
        "server_cpu_us_per_job": counted.cpu_s / jobs * 1e6,
    }


def _idle(stage: Stage, worker: int, idle_s: float) -> Figures:
    time.sleep(min(1.0, idle_s))  # what follows the last job has its time
    before, cpu_before_s, began_s = stage.server.counters(), processes.cpu_s(worker), time.monotonic()
    time.sleep(idle_s)
    after, cpu_after_s, lasted_s = stage.server.counters(), processes.cpu_s(worker), time.monotonic() - began_s
    return {
        "idle_commands_per_s": after.since(before).commands / lasted_s,
        "idle_cpu_percent": (cpu_after_s - cpu_before_s) / lasted_s * 100,
    }


def _pick_up(stage: Stage, jobs: int, *, seed: int) -> Figures:
    done = stage.marked
    stage.submit("trickle", "noop", jobs, seed=seed)
    stage.await_marks(done + jobs)
    delays = delays_ms(stage.marks(done))
    return {
        "pick_up_p50_ms": percentile(delays, 0.5),
        "pick_up_p99_ms": percentile(delays, 0.99),
        "pick_up_max_ms": max(delays),
    }


def by_command(counted: Counters, jobs: int) -> Sequence[Mapping[str, float | str]]:
    """Return calls and microseconds a job of each command, the dearest first."""
    names = sorted(counted.usec, key=lambda name: -counted.usec[name])
    return [
        {
            "command": name,
            "calls_per_job": counted.calls[name] / jobs,
            "us_per_job": counted.usec[name] / jobs,
            "us_per_call": counted.usec[name] / counted.calls[name],
        }
        for name in names
        if counted.calls[name]
    ]
