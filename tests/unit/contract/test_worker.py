"""A worker's record is read as it was written, and by readers of other versions."""

from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.contract.worker import WorkerRecord

_names = st.lists(st.text(min_size=1)).map(tuple)
_counts = st.integers(min_value=0)
records = st.builds(
    WorkerRecord,
    id=st.just("w"),
    host=st.text(),
    pid=_counts,
    version=st.text(),
    queues=_names,
    kinds=_names,
    max_jobs=_counts,
    running=_counts,
    settled=_counts,
    failed=_counts,
    loop_lag_ms=_counts,
    stalled=st.booleans(),
    unready=st.none() | st.text(),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: WorkerRecord) -> None:
    """All but the times, which the server writes, and a value of None, which has no field."""
    written = record.to_hash()
    assert WorkerRecord.from_hash("w", written) == record
    assert ("unready" in written) == (record.unready is not None)
    assert {"started_ms", "beat_ms"}.isdisjoint(written)


@given(records)
def test_fields_of_a_later_version_are_passed_over(record: WorkerRecord) -> None:
    """An old reader reads what it knows, and the times."""
    raw = {**record.to_hash(), "started_ms": "1", "beat_ms": "2", "mood": "good"}
    read = WorkerRecord.from_hash("w", raw)
    assert (read.started_ms, read.beat_ms, read.kinds) == (1, 2, record.kinds)
