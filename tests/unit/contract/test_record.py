"""A record survives its way through the hash, whatever is in it."""

import json
from dataclasses import asdict, fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arqway.workers.contract import keys, record
from arqway.workers.contract.record import RECORD_FIELDS, AttemptRecord, Failure, JobRecord, Progress
from arqway.workers.contract.states import TERMINAL_STATES, JobState
from arqway.workers.store.connection import open_redis
from arqway.workers.store.jobs import JobStore

any_text = st.text() | st.text(st.sampled_from("a\0\n\udce9"))  # half a pair too: an odd file name
stored_text = st.text()
counts = st.integers(0, 10**30)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
progresses = st.builds(Progress, numbers, st.none() | numbers, st.none() | any_text)
failures = st.builds(Failure, any_text, any_text, st.none() | any_text, st.none() | any_text, st.none() | any_text)
ended_attempts = st.builds(
    AttemptRecord, counts, counts, counts, any_text, stored_text, st.none() | any_text, st.none() | any_text
)
_INTS = {f.name: counts if f.type is int else st.none() | counts for f in fields(JobRecord) if "int" in str(f.type)}
records = st.builds(
    JobRecord,
    id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,127}", fullmatch=True),
    kind=stored_text,
    queue=stored_text,
    state=st.sampled_from(JobState),
    progress=st.none() | progresses,
    result_json=st.none() | stored_text,
    failure=st.none() | failures,
    worker=st.none() | stored_text,
    tenant=st.sampled_from(["default", "acme"]),
    batch=st.none() | stored_text,
    tags=st.lists(stored_text, max_size=3).map(tuple),
    unique_key=st.none() | stored_text,
    callback_url=st.none() | stored_text,
    retry_of=st.none() | stored_text,
    retried_as=st.none() | stored_text,
    attempts=st.lists(ended_attempts, max_size=3).map(tuple),
    extras=st.booleans(),
    **_INTS,
)
_ABSENT = {"tenant": "default", "tags": (), "attempts": (), "extras": False}
_LEAST = {"kind": "k", "queue": "q", "state": "queued", "created_ms": "1", "due_ms": "2"}


def hash_of(written: JobRecord) -> dict[str, str]:
    """Return the fields of ``job:{id}`` as the scripts write them; None and defaults have no field."""
    values = {name: getattr(written, name if name != "result" else "result_json") for name in RECORD_FIELDS}
    return {name: _encode(value) for name, value in values.items() if value is not None and value != _ABSENT.get(name)}


def _encode(value: object) -> str:
    match value:
        case Progress() | Failure():
            return value.to_json()
        case tuple():
            return json.dumps([asdict(item) if isinstance(item, AttemptRecord) else item for item in value])
        case bool():
            return str(int(value))
    return str(value)


@given(records)
def test_a_record_comes_back_as_it_was_written(written: JobRecord) -> None:
    """Reading what was written gives an equal record, down to int or float, an empty text or none."""
    read = JobRecord.from_hash(written.id, hash_of(written))
    assert read == written
    assert repr(read.progress) == repr(written.progress)


@given(records)
def test_a_hash_holds_only_the_fields_of_the_contract(written: JobRecord) -> None:
    """Every field of the hash is one that readers ask for; None, and what an absent field means, has no field."""
    defaults = {field.name: field.default for field in fields(JobRecord)}
    values = {name: getattr(written, name if name != "result" else "result_json") for name in RECORD_FIELDS}
    absent = {name for name in ("tenant", "tags", "attempts", "extras") if values[name] == defaults[name]}
    assert set(hash_of(written)) == {name for name, value in values.items() if value is not None} - absent


@given(records, st.dictionaries(stored_text.filter(lambda name: name not in RECORD_FIELDS), stored_text))
def test_fields_of_a_later_version_are_passed_over(written: JobRecord, unknown: dict[str, str]) -> None:
    """An old reader takes what it knows from a newer worker's hash."""
    assert JobRecord.from_hash(written.id, {**unknown, **hash_of(written)}) == written


def test_progress_of_a_later_version_is_read() -> None:
    """An old reader takes what it knows from a newer worker's progress."""
    text = json.dumps({"current": 1, "total": 2, "message": "m", "unit": "bytes"})
    assert Progress.from_json(text) == Progress(1, 2, "m")


def test_a_failure_of_a_later_version_is_read() -> None:
    """An old reader takes what it knows from a newer worker's failure."""
    assert Failure.from_json(json.dumps({"code": "c", "message": "m", "hint": "h"})) == Failure("c", "m")


def test_the_least_that_a_hash_holds_is_enough() -> None:
    """The job of a stock producer has no attempts, no limit and no ends; the defaults stand in."""
    found = JobRecord.from_hash("x", _LEAST)
    assert (found.attempt, found.max_attempts, found.version, found.finished_ms) == (0, 1, 1, None)


@pytest.mark.parametrize("name", ["token", "envelope", "id"])
def test_readers_never_ask_for_what_belongs_to_the_worker(name: str) -> None:
    """The token, which names who may write, and the payload never leave the worker by way of a record."""
    assert name not in RECORD_FIELDS


def test_the_table_of_the_hash_names_every_field() -> None:
    """The module's table is the layout: all that readers ask for, and the three fields that they do not."""
    first_column = "\n".join(line[:20] for line in (record.__doc__ or "").splitlines() if line.startswith("``"))
    named = first_column.replace("`", " ").replace(",", " ").split()
    assert sorted(named) == sorted([*RECORD_FIELDS, "token", "steps", "envelope"])


@pytest.mark.parametrize("state", JobState)
def test_finished_means_a_terminal_state(state: JobState) -> None:
    """A record is finished exactly where nothing can follow its state."""
    assert JobRecord.from_hash("x", {**_LEAST, "state": state}).finished == (state in TERMINAL_STATES)


@pytest.mark.parametrize("state", JobState)
def test_only_a_retrying_job_has_a_next_retry(state: JobState) -> None:
    """``next_retry_ms`` is the due time while a retry is waited for, and else None."""
    found = JobRecord.from_hash("x", {**_LEAST, "state": state})
    assert found.next_retry_ms == (2 if state is JobState.RETRYING else None)


@pytest.mark.parametrize(("stored", "value"), [(None, None), ("null", None), ("[1]", [1]), ('"\\u0000"', "\0")])
def test_the_result_is_read_from_its_json(stored: str | None, value: object) -> None:
    """``result`` is the JSON value, None where there is none."""
    assert JobRecord.from_hash("x", _LEAST | ({} if stored is None else {"result": stored})).result == value


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=records)
async def test_a_record_survives_a_real_server(redis_url: str, written: JobRecord) -> None:
    """What HSET stored, ``JobStore.read`` gives back, the worker's own fields left out."""
    async with open_redis(redis_url) as client:
        hidden = {"token": "t", "envelope": b"\xff"}
        await client.hset(keys.record(written.id), mapping={**hidden, **hash_of(written)})  # type: ignore[misc]
        read = await JobStore(client).read(written.id)
        await client.delete(keys.record(written.id))
    assert read == written


async def test_a_job_that_is_not_there_has_no_record(redis_url: str) -> None:
    """Reading an unknown id gives None; so does a hash without a state, which no script writes."""
    async with open_redis(redis_url) as client:
        await client.hset(keys.record("half"), "kind", "k")  # type: ignore[misc]
        assert [await JobStore(client).read(job_id) for job_id in ("half", "none")] == [None, None]
        await client.delete(keys.record("half"))
