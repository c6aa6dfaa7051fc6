"""What ``docs/webhooks.md`` tells receivers is true: its code accepts what the service sends, and nothing else."""

import importlib.util
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import pytest
from httpx import ASGITransport, AsyncClient

from arqway import JobState
from arqway.service.shapes.jobs import JobView
from arqway.workers.contract.callback import URL_CHARS
from arqway.workers.contract.states import TERMINAL_STATES
from arqway.workers.webhooks.delivery import RETRY
from arqway.workers.webhooks.sender import WITHIN_S
from arqway.workers.webhooks.signature import sign, tenant_secret, verify
from tests.support import docs

PAGE = "docs/webhooks.md"
NEW, OLD = "whsec_" + "bmV3" * 8, "whsec_" + "b2xk" * 8
BODY = b'{"type": "job.succeeded", "data": "\xc3\xbc"}'

IsOurs = Callable[[Mapping[str, str], bytes], bool]


def headers_of(*secrets: str, age_s: int = 0, body: bytes = BODY) -> dict[str, str]:
    """Return the headers of a message that was sent ``age_s`` ago."""
    at_s = int(time.time()) - age_s
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(secrets, "msg_1", at_s, body),
    }


def messages() -> dict[str, tuple[dict[str, str], bytes, bool]]:
    """Return messages of just now by name, each with whether it is ours."""
    return {
        "signed": (headers_of(NEW), BODY, True),
        "signed by another": (headers_of(OLD), BODY, False),
        "signed by both": (headers_of(OLD, NEW), BODY, True),
        "changed": (headers_of(NEW), BODY + b" ", False),
        "renamed": ({**headers_of(NEW), "webhook-id": "msg_2"}, BODY, False),
        "old": (headers_of(NEW, age_s=400), BODY, False),
        "from the future": (headers_of(NEW, age_s=-400), BODY, False),
        "without a time": ({**headers_of(NEW), "webhook-timestamp": "soon"}, BODY, False),
        "unsigned": ({"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}, BODY, False),
        "bare": ({}, BODY, False),
    }


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The page's Python file, as a module."""
    monkeypatch.setenv("WEBHOOK_SECRET", NEW)
    (path,) = docs.write_files(PAGE, tmp_path)
    spec = importlib.util.spec_from_file_location("receiver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", messages())
def test_the_python_code_verifies(receiver: ModuleType, name: str) -> None:
    """It takes what we sign, also in a rotation, and nothing forged, changed or old."""
    headers, body, ours = messages()[name]
    assert receiver.is_ours(headers, body) is ours


async def test_the_python_receiver_answers(receiver: ModuleType) -> None:
    """204 to a message of ours, 401 to any other."""
    async with AsyncClient(transport=ASGITransport(receiver.app), base_url="http://receiver.test") as client:
        taken = await client.post("/hook", headers=headers_of(NEW), content=BODY)
        refused = await client.post("/hook", headers=headers_of(OLD), content=BODY)
    assert (taken.status_code, refused.status_code) == (204, 401)


async def test_the_javascript_code_verifies(tmp_path: Path) -> None:
    """The same messages, in Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine")
    (tmp_path / "receiver.mjs").write_text(docs.blocks(PAGE, "javascript")[0], encoding="utf-8")
    sent = messages().values()
    cases = [[headers, body.decode(), NEW] for headers, body, _ in sent]
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        'import { readFileSync } from "node:fs"; import { isOurs } from "./receiver.mjs";\n'
        'const cases = JSON.parse(readFileSync("cases.json", "utf8"));\n'
        "console.log(JSON.stringify(cases.map(([h, body, secret]) => isOurs(h, Buffer.from(body), secret))));\n",
        encoding="utf-8",
    )
    code, output = await docs.run(node, "run.mjs", folder=tmp_path)
    assert code == 0, output
    assert json.loads(output) == [ours for _, _, ours in sent]


def test_the_example_is_signed_and_looks_like_ours() -> None:
    """Receivers try their own code with it."""
    head, _, body = docs.blocks(PAGE, "http")[0].strip().partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    (secret,) = {name for name in docs.spans(PAGE) if re.fullmatch(r"whsec_\S{20,}", name)}
    assert verify(secret, headers, body.encode(), now_s=int(headers["webhook-timestamp"])) == headers["webhook-id"]
    message = json.loads(body)
    assert (list(message), message["type"]) == (["type", "timestamp", "data"], "job.succeeded")
    assert JobView.__required_keys__ <= set(message["data"]) <= set(get_type_hints(JobView))


def test_the_types_are_the_final_states() -> None:
    """One for each end that a job can have."""
    listed = docs.first_names(docs.rows(PAGE, "The request"))
    assert {name for name in listed if name.startswith("job.")} == {f"job.{state}" for state in TERMINAL_STATES}
    assert {name.removeprefix("job.") for name in listed if name.startswith("job.")} <= {str(s) for s in JobState}


def test_the_numbers_are_those_of_the_code() -> None:
    """Time to answer, attempts, delays, lengths."""
    text = docs.text_of(PAGE)
    longest_s = [RETRY.delay_ms(attempt, 1) / 1000 for attempt in range(1, RETRY.max_attempts)]
    assert f"Respond within {WITHIN_S:g} s" in text
    assert f"**At most {RETRY.max_attempts} attempts.**" in text
    assert (
        f"within {longest_s[0]:g} s of the first, the third within {longest_s[1]:g} s, then {longest_s[2]:g} s" in text
    )
    assert f"up to {max(longest_s) / 3600:g} h" in text
    assert f"{sum(longest_s) / 3600:.1f} h at most" in text
    assert f"{sum(longest_s) / 7200:.0f} h on average" in text
    assert f"at most {URL_CHARS:,} ASCII characters" in text
    assert all(second >= first for first, second in pairwise(longest_s))


def test_the_codes_are_those_of_the_code() -> None:
    """Each code of the table is written by a delivery, and each that a delivery writes is in the table."""
    source = docs.text_of("workers/webhooks/delivery.py")
    written = set(re.findall(r'DiscardJob\("(\w+)"|code="(\w+)"', source))
    listed = docs.first_names(docs.rows(PAGE, "The log of deliveries"))
    assert {first or second for first, second in written} | {"http_503"} == set(listed)


async def test_the_command_prints_a_tenants_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, the newest first; without any, one line of why."""
    command = (sys.executable, "-m", "arqway.workers.webhooks")
    assert any("python -m arqway.workers.webhooks acme" in span for span in docs.spans(PAGE))
    none = await docs.run(*command, "acme")
    monkeypatch.setenv("ARQWAY_WEBHOOK_SECRETS", f"{NEW},{OLD}")
    given, default = await docs.run(*command, "acme"), await docs.run(*command)
    wrong = await docs.run(*command, "No Name")
    assert given == (0, f"{tenant_secret(NEW, 'acme')}\n{tenant_secret(OLD, 'acme')}\n")
    assert default == (0, f"{tenant_secret(NEW, 'default')}\n{tenant_secret(OLD, 'default')}\n")
    assert wrong == (2, "webhooks: a tenant is named by 1 to 63 of a-z 0-9 _ -\n")
    assert none == (2, "webhooks: ARQWAY_WEBHOOK_SECRETS is not set\n")
