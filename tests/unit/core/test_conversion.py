"""A pickled envelope as JSON: the same arguments, or a refusal that names their type; nothing in it is ever run."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from arqway.workers.client.conversion import NotConvertible, to_json
from arqway.workers.contract import envelope
from tests.support.pickles import MORE_THAN_JSON, PLAIN, pickled


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_arguments_are_the_same_as_json(value: Any) -> None:
    """Whatever JSON can carry is read back equal, as an argument and as a keyword, at any depth."""
    found = envelope.decode(to_json(pickled(value, [value], b={"deep": value})))
    assert found == {"t": None, "f": "add", "a": [value, [value]], "k": {"b": {"deep": value}}, "et": 1}


def test_tuples_become_lists() -> None:
    """As with every JSON serializer that a producer could use instead."""
    assert envelope.decode(to_json(pickled((1, (2,)))))["a"] == [[1, [2]]]


@pytest.mark.parametrize("reason", MORE_THAN_JSON)
@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_more_than_json_is_refused_by_its_type(reason: str, protocol: int) -> None:
    """With the function's name and the type, at any depth, and never with the value."""
    for value in (MORE_THAN_JSON[reason], [{"a": MORE_THAN_JSON[reason]}]):
        raw = pickle.dumps({"t": None, "f": "add", "a": (value,), "k": {}, "et": 1}, protocol)
        with pytest.raises(NotConvertible) as refused:
            to_json(raw)
        assert (refused.value.reason, refused.value.function) == (reason, "add")


class _Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def test_nothing_that_a_pickle_names_is_called(tmp_path: Path) -> None:
    """A pickle that would run code is a job with a strange argument, or no job; whatever it would do is not done."""
    for raw in (
        pickled(_Bomb(tmp_path / "argument")),
        pickle.dumps(_Bomb(tmp_path / "job")),
        b"cos\nsystem\n(S'x'\ntR.",
    ):
        with pytest.raises(NotConvertible):
            to_json(raw)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\x81\xa1a\x01", pickle.dumps([1]), pickle.dumps({"f": "add"})])
def test_garbage_is_refused_without_a_name(raw: bytes) -> None:
    """Neither an error of pickle's own nor a guess."""
    with pytest.raises(NotConvertible) as refused:
        to_json(raw)
    assert refused.value.function == ""
