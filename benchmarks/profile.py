"""Where our engine's time goes while it drains no-op jobs: by function, and by Redis command.

With py-spy in the path or beside Python the functions are sampled, which slows nothing down; else cProfile counts every
call, which makes Python's share look larger than it is.
"""

import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from io import StringIO
from pathlib import Path

from benchmarks.measure import by_command
from benchmarks.roster import ARQWAY
from benchmarks.server import running_server
from benchmarks.stage import Stage

_WARM_UP = 500
_ROWS = 40
_SAMPLES_A_SECOND = 100
_END_WITHIN_S = 60.0


def profile(jobs: int) -> str:
    """Drain so many jobs, and return both tables."""
    with running_server() as server, tempfile.TemporaryDirectory(prefix="arqway-bench-") as name:
        stage = Stage(ARQWAY, server, Path(name))
        stage.submit("fill", "noop", _WARM_UP + jobs)
        before, output = server.counters(), Path(name) / "profile"
        spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
        functions = _sampled(stage, jobs, spy, output) if spy else _counted(stage, jobs, output)
        commands = [
            f"{row['command']:<16} {row['calls_per_job']:8.4f} calls/job {row['us_per_job']:8.2f} µs/job "
            f"{row['us_per_call']:10.2f} µs/call"
            for row in by_command(server.counters().since(before), _WARM_UP + jobs)
        ]
    return f"{functions}\nBy Redis command; scripts hold the time of what they call\n" + "\n".join(commands) + "\n"


def _sampled(stage: Stage, jobs: int, spy: str, output: Path) -> str:
    with stage.workers() as (worker,):
        stage.await_marks(_WARM_UP)
        options = ["--rate", str(_SAMPLES_A_SECOND), "--format", "raw", "--output", str(output), "--pid", str(worker)]
        with subprocess.Popen(
            [spy, "record", "--nonblocking", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as recorder:
            began_s = time.monotonic()
            stage.await_marks(_WARM_UP + jobs)
            took_s = time.monotonic() - began_s
            recorder.send_signal(2)
            recorder.wait(_END_WITHIN_S)
    return f"{jobs / took_s:,.0f} jobs/s while sampled\n{_by_function(output.read_text(encoding='utf-8'))}"


def _by_function(samples: str) -> str:
    """Return the share of samples in which a function was on top, and on the stack at all."""
    on_top: Counter[str] = Counter()
    on_stack: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        on_top[frames[-1]] += int(count)
        for frame in set(frames):
            on_stack[frame] += int(count)
    everything = sum(on_top.values()) or 1
    rows = [
        f"{on_top[frame] / everything:7.1%} {count / everything:7.1%}  {frame}"
        for frame, count in sorted(on_stack.items(), key=lambda item: (-on_top[item[0]], -item[1]))[:_ROWS]
    ]
    return "on top on stack  function\n" + "\n".join(rows) + "\n"


def _counted(stage: Stage, jobs: int, output: Path) -> str:
    with stage.workers(around=("python", "-m", "cProfile", "-o", str(output))):
        stage.await_marks(_WARM_UP + jobs)
        stage.await_settled()
    told = StringIO()
    pstats.Stats(str(output), stream=told).strip_dirs().sort_stats("tottime").print_stats(_ROWS)
    return told.getvalue()
