"""The table of problems is complete and stable."""

import pytest

from arqway.service.problems.answers import field_errors
from arqway.service.problems.table import PROBLEMS, UNEXPECTED
from arqway.workers.contract import errors as contract


def test_problem_names_are_unique() -> None:
    """No two kinds of problem share a type URI or a code."""
    slugs = [kind.slug for kind in (*PROBLEMS.values(), UNEXPECTED)]

    assert len(set(slugs)) == len(slugs)


def test_every_error_a_client_can_cause_is_in_the_table() -> None:
    """Each error of the contract has a problem, except those of set-up, of running jobs and of clients alone."""
    own = {
        value
        for value in vars(contract).values()
        if isinstance(value, type) and issubclass(value, contract.ArqwayError)
    }
    internal = {contract.ArqwayError, contract.ConfigurationError, contract.JobFailed, contract.LeaseLost}

    assert own - internal <= set(PROBLEMS)


@pytest.mark.parametrize("status", [503])
def test_what_passes_by_itself_says_when_to_try_again(status: int) -> None:
    """Every 503 has a Retry-After."""
    assert all(kind.retry_after_s for kind in PROBLEMS.values() if kind.status == status)


def test_field_errors_name_the_field_and_never_the_value() -> None:
    """An entry has loc, type and msg alone, also where pydantic's message repeats what was sent."""
    raw = {
        "type": "union_tag_invalid",
        "loc": ("pet", 0),
        "msg": "Input tag 'hunter2' found using 'kind' does not match any of the expected tags: 'cat', 'dog'",
        "ctx": {"discriminator": "'kind'", "tag": "hunter2", "expected_tags": "'cat', 'dog'"},
        "input": {"kind": "hunter2"},
    }

    [error] = field_errors([raw], "body")

    assert error["loc"] == ["body", "pet", 0]
    assert error["type"] == "union_tag_invalid"
    assert error["msg"] == "Input tag does not match any of the expected tags: 'cat', 'dog'"


def test_a_flood_of_field_errors_is_cut() -> None:
    """An answer stays small however much of a payload is wrong."""
    raw = [{"type": "int_type", "loc": ("x" * 10_000,), "msg": "Input should be a valid integer"}] * 10_000

    assert len(str(field_errors(raw))) < 10_000
