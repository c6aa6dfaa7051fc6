"""The face that job authors import from."""

import inspect
import subprocess
import sys

import pytest

import arqway

DOCUMENTED = [
    "Arqway",
    "ArqwayError",
    "Caller",
    "DiscardJob",
    "InvalidSubmission",
    "JobContext",
    "JobDefinition",
    "JobNotFound",
    "JobQueue",
    "JobRecord",
    "JobState",
    "JobTimedOut",
    "LocalAttempt",
    "PendingJob",
    "Registry",
    "RetryJob",
    "RetryPolicy",
    "StoreUnavailable",
    "SyncJobQueue",
    "job",
    "open_queue",
]


def test_the_face_is_what_is_documented() -> None:
    """A name more or less is a decision, not an accident; there are few enough to remember."""
    assert sorted(arqway.__all__) == DOCUMENTED
    assert len(DOCUMENTED) <= 25


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_name_explains_itself(name: str) -> None:
    """Each name is there, and has a docstring of its own."""
    found = getattr(arqway, name)
    parent = found.__base__ if inspect.isclass(found) else None
    assert found.__doc__
    assert not found.__doc__.startswith(f"{name}(")
    assert parent is None or found.__doc__ != parent.__doc__


@pytest.mark.parametrize("name", [name for name in DOCUMENTED if inspect.isclass(getattr(arqway, name))])
def test_every_public_method_explains_itself(name: str) -> None:
    """What an author may call on these objects has a docstring."""
    members = vars(getattr(arqway, name)).items()
    public = [(key, member) for key, member in members if not key.startswith("_") and callable(member)]
    assert [key for key, member in public if not inspect.getdoc(member)] == []


@pytest.mark.parametrize("heavy", ["arq", "redis", "fastapi", "sqlalchemy", "matplotlib"])
def test_to_define_a_job_one_needs_no_server(heavy: str) -> None:
    """``from arqway import job`` loads neither arq nor Redis nor a web framework."""
    program = f"import sys; from arqway import job; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
