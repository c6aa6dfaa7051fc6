"""Load by ``wrk``: one thread, a fixed number of connections, each with one request under way at any time."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.stage import Stalled

CONNECTIONS = 32

_SCRIPT = Path(__file__).with_name("load.lua")
_ANSWER_WITHIN_S = 10
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
_NUMBER = r"([\d.]+)"
_REFUSED = re.compile(r"Non-2xx or 3xx responses: \d+|Socket errors: .*")


class Load(NamedTuple):
    """What wrk saw."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float


def wrk() -> str:
    """Return the program. Ends the run where it is missing, since nothing could be measured."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("the load comes from wrk, which is missing; on Debian: apt-get install wrk")
    return found


def put_load(
    url: str,
    seconds: int,
    headers: Mapping[str, str],
    *,
    body: Path | None = None,
    connections: int = CONNECTIONS,
) -> Load:
    """Send the same request for so many seconds: GET, or POST where there is a body.

    Raises:
        Stalled: A request was refused or not answered.
    """
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_ANSWER_WITHIN_S}s", "--latency"]
    named = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    script = ["-s", str(_SCRIPT)] if body else []
    arguments = ["--", "POST", str(body)] if body else []
    command = [wrk(), *options, *named, *script, url, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if done.returncode != 0:
        raise Stalled(f"wrk: {done.stderr[-300:] or done.stdout[-300:]}")
    return read(done.stdout)


def read(told: str) -> Load:
    """Read what wrk prints. Raises Stalled where a request was refused, or where a figure is missing."""
    if refused := _REFUSED.search(told):
        raise Stalled(f"wrk: {refused[0]}")
    return Load(
        int(_figure(told, r"(\d+) requests in")[0]),
        float(_figure(told, rf"Requests/sec:\s+{_NUMBER}")[0]),
        _ms(_figure(told, rf"\n\s+50%\s+{_NUMBER}(us|ms|s|m)\b")),
        _ms(_figure(told, rf"\n\s+99%\s+{_NUMBER}(us|ms|s|m)\b")),
    )


def _figure(told: str, pattern: str) -> Sequence[str]:
    found = re.search(pattern, told)
    if found is None:
        raise Stalled(f"wrk told no {pattern}: {told[-300:]}")
    return found.groups()


def _ms(parts: Sequence[str]) -> float:
    value, unit = parts
    return float(value) * _MS[unit]
