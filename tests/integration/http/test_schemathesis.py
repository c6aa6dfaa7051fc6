"""Schemathesis against the running service: all of its checks on every operation, with keys and without.

It sends what the OpenAPI document allows and what it forbids, follows links from answer to request, and compares the
answers with the document. ``tests/support/schemathesis.toml`` says what it must know besides.
"""

import asyncio
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

from arqway.workers.client import open_queue
from arqway.workers.settings import Settings
from tests.conftest import RunWorker
from tests.support.api_keys import make_key
from tests.support.http_jobs import JOBS
from tests.support.http_process import ROOT, service_process
from tests.support.traffic import Seeds, going_on, sow
from tests.support.webhook_receiver import LOOPBACK

CONFIGURATION = ROOT / "tests" / "support" / "schemathesis.toml"
SECRET = "whsec_" + "bmV3" * 8
BY_CHANCE = {"POST /jobs/{job_id}:cancel", "POST /jobs/{job_id}:retry"}
"""They succeed where a job still waits, or was not retried before, when they come to it."""
NEVER = {"GET /reports/{task_id}/file", "POST /jobs/{job_id}/deliveries:redeliver"}
"""Operations that cannot succeed here: nobody stores a report, and no delivery ends."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("auth", "examples"), [("off", 8), ("keys", 5)], ids=["off", "keys"])
async def test_the_service_keeps_to_its_document(
    settings: Settings, redis_url: str, run_worker: RunWorker, tmp_path: Path, auth: str, examples: int
) -> None:
    """No check fails; every operation was tried, and answered as it should when all is well.

    With keys, nobody without one is served, and another tenant is shown nothing.
    """
    tenants = ["ours", "theirs"] if auth == "keys" else ["default"]
    changes = {"webhook_secrets": (SecretStr(SECRET),), "webhook_allow": tuple(LOOPBACK)}
    variables = {"auth": auth, "max_wait_s": 1, "webhook_secrets": SECRET, "webhook_allow": "127.0.0.0/8"}
    async with (
        run_worker(JOBS),
        open_queue(settings.model_copy(update=changes), JOBS) as queue,
        service_process(tmp_path, redis_url, **variables) as service,
        AsyncClient(base_url=service.url) as client,
    ):
        seeds = await sow(queue, tenants[0])
        tokens = {name: await make_key(settings, tenant=name) for name in tenants} if auth == "keys" else {}
        async with going_on(queue, tenants[0]):
            code, output = await schemathesis(service.url, configure(tmp_path, seeds, tokens), tmp_path, examples)
            document = (await client.get("/openapi.json")).json()
    assert code == 0, output
    answered = statuses(tmp_path / "events.ndjson")
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    unreached = {name for name in operations if not answered[name] & set(range(200, 300))}
    assert unreached - BY_CHANCE == NEVER


def configure(folder: Path, seeds: Seeds, tokens: dict[str, str]) -> Path:
    """Write the configuration, with ids that there are and a key for each tenant, and return where it is."""
    lists = {name: {"values": ids} for name, ids in seeds._asdict().items()}
    lines = [f"dictionaries.{name} = {{ values = {json.dumps(ids['values'])} }}" for name, ids in lists.items()]
    if tokens:
        (folder / "keys.json").write_text(json.dumps({"auth": [as_header(*one) for one in tokens.items()]}))
        lines.append(
            f"auth.wfc = {{ path = {json.dumps(str(folder / 'keys.json'))}, peers = {json.dumps([*tokens])} }}"
        )
    configuration = folder / "schemathesis.toml"
    configuration.write_text("\n".join([*lines, CONFIGURATION.read_text()]))
    return configuration


def as_header(name: str, token: str) -> dict[str, Any]:
    """Return a caller as the Web Fuzzing Commons describe it."""
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}


async def schemathesis(url: str, configuration: Path, folder: Path, examples: int) -> tuple[int, str]:
    """Run it with so many examples for each operation and phase; return its exit code and what it prints."""
    report = f"--report-ndjson-path={folder / 'events.ndjson'}"
    options = ["--checks=all", f"--max-examples={examples}", "--seed=1", "--no-color", report]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        f"--config-file={configuration}",
        "run",
        f"{url}/openapi.json",
        *options,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def statuses(report: Path) -> dict[str, set[int]]:
    """Return the statuses with which each operation has answered."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for number, case in recorder.get("cases", {}).items():
            response = recorder["interactions"].get(number, {}).get("response")
            value = case["value"]
            label = f"{value['method']} {value['path']}"
            found[label].add(response["status_code"] if response else 0)
    return found
