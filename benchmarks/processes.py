"""Worker processes: started in an environment of their own, watched in ``/proc``, ended by their ids. Linux only."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_END_WITHIN_S = 10.0
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Places in ``/proc/{id}/stat`` behind the name, which is in brackets. Source: proc_pid_stat(5)."""


def _stat(process: int) -> list[str] | None:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family(process: int) -> list[int]:
    """Return a process and all that it started, down to the last."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    parents = {number: int(stat[_PARENT]) for number in numbers if (stat := _stat(number))}
    found = [process]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def cpu_s(process: int) -> float:
    """Return the CPU time that a process and its living children have used so far."""
    stats = [stat for member in family(process) if (stat := _stat(member))]
    return sum(int(stat[_USER]) + int(stat[_SYSTEM]) for stat in stats) / _TICKS_A_SECOND


def memory_mb(process: int) -> float:
    """Return the resident memory of a process and its children."""
    pages = 0
    for member in family(process):
        with suppress(FileNotFoundError, ProcessLookupError):
            pages += int((Path("/proc") / str(member) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str], log: Path) -> Iterator[int]:
    """Run a program and give its process id; it and whatever it started are ended afterwards."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield started.pid
    finally:
        _end(started)


def _end(process: "subprocess.Popen[bytes]") -> None:
    members = family(process.pid)
    with suppress(subprocess.TimeoutExpired):
        process.terminate()
        process.wait(_END_WITHIN_S)
    for member in members:
        if _stat(member) is not None and (member != process.pid or process.poll() is None):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
    process.wait(_END_WITHIN_S)
    _await_end(members)


def _await_end(members: list[int]) -> None:
    deadline_s = time.monotonic() + _END_WITHIN_S
    while any((stat := _stat(member)) and stat[0] != "Z" for member in members) and time.monotonic() < deadline_s:
        time.sleep(0.01)
