"""What is unsound in a request, in its path, its headers or its JSON, is a clear answer and never a bug."""

import json
import re
import time
from itertools import product
from pathlib import Path
from typing import Any

import httpx

from tests.support.http import assert_problem
from tests.support.http_process import service_process

NOWHERE = "redis://127.0.0.1:1"
JSON = {"content-type": "application/json"}
ODD = ["%00", "%ff%fe", "%ED%A0%80", "..%2f..", "a" * 2_000, "%0d%0aset-cookie:%20a=b", "9" * 400, "-1e999", "%"]
ODD_HEADERS = (
    "authorization",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "prefer",
    "content-type",
)


def targets(document: dict[str, Any], odd: str) -> list[tuple[str, str]]:
    """Return the method and the target of each route, with something odd wherever a client may put anything."""
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
            query = "&".join(f"{name}={odd}" for name in (*names[:3], odd))
            found.append((method.upper(), f"{re.sub(r'{[^}]+}', odd, path)}?{query}"))
    return found


async def test_odd_paths_queries_and_headers_are_no_bug(tmp_path: Path, redis_url: str) -> None:
    """Every route answers, and none with a bug, whatever is in the place of an id, a parameter or a header."""
    async with service_process(tmp_path, redis_url) as service, httpx.AsyncClient(base_url=service.url) as client:
        document = (await client.get("/openapi.json")).json()
        for odd in ODD:
            for (method, target), named in product(targets(document, odd), ((), ODD_HEADERS)):
                headers = [(name.encode(), odd.encode() + b"\xff") for name in named]
                async with client.stream(method, target, headers=headers, content=b"{}") as answer:
                    assert answer.status_code != 500, (method, target, named)
                    assert "set-cookie" not in answer.headers


DEEP = 100_000
UNSOUND: list[tuple[bytes, int, str]] = [
    (b"", 400, "not_json"),
    (b" \n", 400, "not_json"),
    (b"\xef\xbb\xbf{}", 400, "not_json"),
    (b"\x00", 400, "not_json"),
    (b'{"a": "\x00"}', 400, "not_json"),
    (b'{"a": "\xff\xfe"}', 400, "not_json"),
    (b'{"a": "\xed\xa0\x80"}', 400, "not_json"),
    (b'{"a": "\\ud800"}', 400, "not_json"),
    ('{"a": "b"}'.encode("utf-16"), 400, "not_json"),
    (b"NaN", 400, "not_json"),
    (b'{"a": -Infinity}', 400, "not_json"),
    (b'{"a": "b"} {}', 400, "not_json"),
    (b"{'a': 1}", 400, "not_json"),
    (b"1e999999", 422, "unsupported_json"),
    (b'{"user_id": 1e999999}', 422, "unsupported_json"),
    (b'{"user_id": -1e400}', 422, "unsupported_json"),
    (b'{"user_id": ' + b"9" * 5_000 + b"}", 422, "unsupported_json"),
    (b"9" * 1_000_000, 422, "unsupported_json"),
    (b'{"user_id": 1, "user_id": 2}', 422, "unsupported_json"),
    (b'{"a": {"b": "c", "\\u0062": "d"}}', 422, "unsupported_json"),
    (b"[" * DEEP + b"]" * DEEP, 422, "unsupported_json"),
    (b"[" * DEEP, 422, "unsupported_json"),
    (b'{"a":' * DEEP + b"1" + b"}" * DEEP, 422, "unsupported_json"),
    (b"[" * 101 + b"]" * 101, 422, "unsupported_json"),
    (b" " * 10_000_000, 413, "body_too_large"),
]


async def test_json_that_is_unsound_is_a_clear_refusal(tmp_path: Path) -> None:
    """Whatever the payload's type, it is told what is wrong, at once; none of it is accepted, and none is an error."""
    paths = ("/jobs/test.anything", "/jobs/test.nothing", "/reports")
    async with service_process(tmp_path, NOWHERE) as service, httpx.AsyncClient(base_url=service.url) as client:
        for path, (body, status, code) in product(paths, UNSOUND):
            began_s = time.monotonic()
            answer = await client.post(path, content=body, headers=JSON)
            assert_problem(answer, status, code)
            assert time.monotonic() - began_s < 1, body[:50]
        lines = [json.loads(line) for line in service.log.splitlines() if '"Request"' in line]
        assert {line["level"] for line in lines} == {"info"}
