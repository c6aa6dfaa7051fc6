"""Where the figures come from: commit, processor, Python, server, versions, and how busy the machine was."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.roster import ROOT, Contestant
from benchmarks.server import Server

_ASK_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def load() -> list[float]:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def commit() -> str:
    """Return the commit that is checked out; empty outside Git."""
    return _git("rev-parse", "HEAD")


def describe(server: Server, contestants: Iterable[Contestant]) -> dict[str, Any]:
    """Return all that a reader of the figures must know."""
    return {
        "commit": commit(),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "workers", "service")),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "server": _server(server),
        "versions": {contestant.name: _versions(contestant) for contestant in contestants},
    }


def _server(server: Server) -> dict[str, str]:
    told = server.info()
    name = "Valkey" if "valkey_version" in told else "Redis"
    persistence = "appendonly" if told["aof_enabled"] else "none"
    return {"name": name, "version": told.get("valkey_version", told["redis_version"]), "persistence": persistence}


def _versions(contestant: Contestant) -> dict[str, str]:
    asked = [str(contestant.programs / "python"), "-c", _ASK_VERSIONS, *contestant.versions]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip()


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
