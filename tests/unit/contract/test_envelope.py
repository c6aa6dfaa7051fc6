"""The envelopes are JSON, stock arq reads and writes them, and nothing in them is ever run."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from arq.jobs import Job, deserialize_job, deserialize_result, serialize_job, serialize_result
from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract import envelope, keys
from arqway.workers.contract.errors import JobFailed
from arqway.workers.store.connection import open_redis

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_MS = st.integers(0, 4 * 10**12)


def _result(value_json: bytes, *, success: bool = True, kind: str = "k", queue: str = "q", job_id: str = "id") -> bytes:
    return envelope.write_result(
        job_id=job_id,
        kind=kind,
        queue=queue,
        attempt=2,
        success=success,
        value_json=value_json,
        created_ms=1_000,
        started_ms=2_000,
        ended_ms=3_000,
    )


@given(st.dictionaries(st.text(), _json_values, max_size=4))
def test_what_is_encoded_is_decoded(fields: dict[str, Any]) -> None:
    """Any JSON object comes back as it was."""
    assert envelope.decode(envelope.encode(fields)) == fields


@given(_json_values.filter(lambda value: not isinstance(value, dict)))
def test_only_an_object_is_an_envelope(value: object) -> None:
    """Other JSON is refused."""
    with pytest.raises(ValueError, match="object"):
        envelope.decode(json.dumps(value).encode())


@given(st.dictionaries(st.text(), _json_values, min_size=1, max_size=3), st.data())
def test_a_truncated_envelope_is_refused(fields: dict[str, Any], data: st.DataObject) -> None:
    """No beginning of an envelope is taken for the whole."""
    raw = envelope.encode(fields)
    with pytest.raises(ValueError):  # noqa: PT011 - of json, whose words differ from case to case
        envelope.decode(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """There is no third way: bytes are an envelope, or a ValueError."""
    with suppress(ValueError):
        assert isinstance(envelope.decode(raw), dict)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000])
def test_an_envelope_too_deep_to_read_is_refused(raw: bytes) -> None:
    """Nesting without end is unreadable, and nothing worse."""
    with pytest.raises(ValueError):  # noqa: PT011 - of json
        envelope.decode(raw)


@pytest.mark.parametrize("result", [1, [], {}, {"code": "c"}, None])
def test_an_error_in_another_shape_is_refused(result: object) -> None:
    """A failed result that does not look like ours is unreadable, and nothing worse."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the part that is missing
        envelope.decode(json.dumps({"s": False, "r": {"__error__": result}}).encode())


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    """A pickle that would make a folder when loaded makes none."""
    folder = tmp_path / "ran"
    with pytest.raises(ValueError):  # noqa: PT011 - of json
        envelope.decode(b"cos\nmkdir\n(S%a\ntR." % str(folder))
    assert not folder.exists()


@given(st.text(), st.lists(_json_values, max_size=2), st.dictionaries(st.text(), _json_values, max_size=2), _MS)
def test_stock_arq_reads_the_jobs_it_writes(kind: str, args: list[Any], named: dict[str, Any], at_ms: int) -> None:
    """With ``encode`` and ``decode`` as its serializers, arq's own job comes back whole."""
    raw = serialize_job(kind, tuple(args), named, None, at_ms, serializer=envelope.encode)
    found = deserialize_job(raw, deserializer=envelope.decode)
    assert (found.function, list(found.args), found.kwargs) == (kind, args, named)
    assert found.enqueue_time.timestamp() == pytest.approx(at_ms / 1000)


@given(_json_values)
def test_stock_arq_reads_the_results_it_writes(value: Any) -> None:
    """With ``encode`` and ``decode`` as its serializers, arq's own result comes back whole."""
    raw = serialize_result("k", (1,), {}, 3, 1, True, value, 2, 3, "ref", "q", "id", serializer=envelope.encode)
    assert raw is not None
    found = deserialize_result(raw, deserializer=envelope.decode)
    assert (found.result, found.success, found.job_try, found.job_id) == (value, True, 3, "id")


@given(_json_values)
def test_stock_arq_reads_our_results(value: object) -> None:
    """What ``write_result`` wrote, an arq client understands: the value, the times, the names."""
    found = deserialize_result(_result(json.dumps(value).encode()), deserializer=envelope.decode)
    assert (found.result, found.success, found.function, found.job_try) == (value, True, "k", 2)
    assert (found.queue_name, found.job_id) == ("q", "id")
    times = (found.enqueue_time, found.start_time, found.finish_time)
    assert [moment.timestamp() for moment in times] == [1, 2, 3]


@given(st.text(), st.text(), st.text())
def test_names_are_told_whatever_is_in_them(kind: str, queue: str, job_id: str) -> None:
    """Quotes, control characters and other alphabets in the names of a stock producer break no result."""
    found = deserialize_result(_result(b"1", kind=kind, queue=queue, job_id=job_id), deserializer=envelope.decode)
    assert (found.function, found.queue_name, found.job_id) == (kind, queue, job_id)


def test_a_result_may_look_like_an_error() -> None:
    """A job that succeeded may return any value: only a failed job's result is read as its error."""
    value = {"__error__": {"code": "cancelled", "message": "m"}}
    assert deserialize_result(_result(json.dumps(value).encode()), deserializer=envelope.decode).result == value


@pytest.mark.parametrize(
    ("error", "seen"), [(ValueError("secret"), JobFailed), (asyncio.CancelledError(), asyncio.CancelledError)]
)
def test_an_error_is_kept_by_name_only(error: BaseException, seen: type[BaseException]) -> None:
    """An exception that arq itself stores comes back as ours, without its text."""
    raw = envelope.encode({"s": False, "r": error})
    assert b"secret" not in raw
    assert isinstance(envelope.decode(raw)["r"], seen)


def test_what_json_cannot_hold_is_refused() -> None:
    """An object of no JSON type is a TypeError, not a string of some sort."""
    with pytest.raises(TypeError, match="object"):
        envelope.encode({"r": object()})


@given(st.text().filter(lambda code: code != "cancelled"), st.text())
def test_a_failure_tells_its_code_and_message(code: str, message: str) -> None:
    """A failed job's code and message reach an arq client."""
    error = envelope.decode(_result(envelope.error_json(code, message), success=False))["r"]
    assert isinstance(error, JobFailed)
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    ("value_json", "error"),
    [
        (envelope.error_json("timeout", "too late"), JobFailed),
        (envelope.CANCELLED_JSON, asyncio.CancelledError),
    ],
)
async def test_stock_arq_raises_what_became_of_the_job(
    redis_url: str, value_json: bytes, error: type[BaseException]
) -> None:
    """``arq.jobs.Job.result()`` raises JobFailed for a failed job and CancelledError for a cancelled one."""
    async with open_redis(redis_url) as client:
        await client.set(keys.arq_result("id"), _result(value_json, success=False), px=10_000)
        with pytest.raises(error):
            await Job("id", client, _deserializer=envelope.decode).result(timeout=1)


async def test_stock_arq_gets_the_result(redis_url: str) -> None:
    """``arq.jobs.Job.result()`` returns a succeeded job's result."""
    async with open_redis(redis_url) as client:
        await client.set(keys.arq_result("id"), _result(b'{"n":[1,null]}'), px=10_000)
        assert await Job("id", client, _deserializer=envelope.decode).result(timeout=1) == {"n": [1, None]}
