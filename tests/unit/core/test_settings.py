"""Settings come from the environment, are checked at once, and keep their secrets."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from arqway.service.settings import ServiceSettings
from arqway.workers.settings import Settings, first_problem, make_private

PASSWORD = "hunter2"  # noqa: S105 - the secret that must not be seen
SECRET_URL = f"redis://:{PASSWORD}@localhost:6379/0"


def test_all_settings_have_defaults() -> None:
    """An empty environment is a working one: no server named, so the embedded one is meant."""
    settings = Settings()
    assert settings.redis_url is None
    assert (settings.jobs, settings.queues) == ("arqway.workers.jobs:JOBS", ("default",))


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("ARQWAY_MAX_JOBS", "7", "max_jobs", 7),
        ("ARQWAY_QUEUES", "reports, default", "queues", ("reports", "default")),
        ("ARQWAY_HOME", "somewhere", "home", Path("somewhere")),
        ("ARQWAY_LEASE_S", "2.5", "lease_s", 2.5),
        ("arqway_log_level", "debug", "log_level", "debug"),
    ],
)
def test_a_variable_begins_with_our_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: object
) -> None:
    """``ARQWAY_<NAME>`` sets ``<name>``, in any case."""
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), name) == value


@pytest.mark.parametrize("variable", ["MAX_JOBS", "HOME", "LOG_LEVEL", "QUEUES", "JOBS"])
def test_a_variable_without_our_name_means_nothing(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Other people's variables are theirs."""
    before = Settings()
    monkeypatch.setenv(variable, "debug")
    assert Settings() == before


def test_the_server_is_named_as_everybody_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """``REDIS_URL`` stands without our name, and only without."""
    monkeypatch.setenv("ARQWAY_REDIS_URL", "redis://other")
    assert Settings().redis_url is None
    monkeypatch.setenv("REDIS_URL", SECRET_URL)
    url = Settings().redis_url
    assert url is not None
    assert url.get_secret_value() == SECRET_URL


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:1/2", "unix:///run/redis.sock?db=1", "redis://[::1]:1"])
def test_a_server_may_be_named_by_any_url_of_redis(url: str) -> None:
    """TCP, TLS and Unix sockets are all fine."""
    assert Settings.model_validate({"redis_url": url}).redis_url is not None


_WRONG_URLS = [
    f"http://:{PASSWORD}@localhost",
    f"redis://:{PASSWORD}@localhost:notaport",
    f"redis://:{PASSWORD}@localhost:99999",
    f"redis://:{PASSWORD}@[::1",
    f"redis://:{PASSWORD}/2@localhost:6379",
    PASSWORD,
    f"localhost:6379?password={PASSWORD}",
]


@pytest.mark.parametrize("url", _WRONG_URLS)
def test_a_wrong_url_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The error names the variable and what is wrong, and never the password."""
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ValidationError) as caught:
        Settings()
    told = first_problem(caught.value)
    assert told.startswith("REDIS_URL: ")
    assert PASSWORD not in f"{told} {caught.value} {caught.value!r}"


def test_a_secret_is_never_printed() -> None:
    """Neither form of the settings shows the URL, which may hold a password; nor does their JSON."""
    settings = Settings.model_validate({"redis_url": SECRET_URL})
    assert PASSWORD not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_settings_do_not_change() -> None:
    """What a process began with, it keeps."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().max_jobs = 3


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A slip of the pen is an error, not a setting without effect."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"max_job": 3})
    assert first_problem(caught.value).startswith("ARQWAY_MAX_JOB: ")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ARQWAY_MAX_JOBS", "0"),
        ("ARQWAY_MAX_JOBS", "many"),
        ("ARQWAY_LEASE_S", "0.5"),
        ("ARQWAY_LEASE_S", "nan"),
        ("ARQWAY_POLL_S", "0"),
        ("ARQWAY_POLL_S", "inf"),
        ("ARQWAY_RETENTION_S", "inf"),
        ("ARQWAY_KEEP_RESULT_S", "inf"),
        ("ARQWAY_UNKNOWN_KIND_S", "inf"),
        ("ARQWAY_DRAIN_S", "-1"),
        ("ARQWAY_JOBS", "no colon"),
        ("ARQWAY_JOBS", ":JOBS"),
        ("ARQWAY_LOG_LEVEL", "loud"),
        ("ARQWAY_LOG_FORMAT", "xml"),
        ("ARQWAY_QUEUES", "reports,"),
        ("ARQWAY_QUEUES", "[]"),
        ("ARQWAY_QUEUES", '["No Name"]'),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    """The process says at its start, in one line, which variable it is."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert first_problem(caught.value).startswith(f"{variable}: ")
    assert "\n" not in first_problem(caught.value)


@pytest.mark.parametrize("link", ["tcp://10.0.0.1:8000", "udp://[fd00::1]:53", "tcp://arqway:1"])
@pytest.mark.parametrize("name", ["port", "worker_health_port", "max_jobs", "log_level"])
def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, link: str
) -> None:
    """A Service called arqway, or arqway-worker-health, sets variables in every pod that look like ours."""
    expected = getattr(ServiceSettings(), name)
    monkeypatch.setenv(f"ARQWAY_{name.upper()}", link)
    for variable in ("ARQWAY_SERVICE_HOST", "ARQWAY_PORT_8000_TCP", "ARQWAY_PORT_8000_TCP_ADDR"):
        monkeypatch.setenv(variable, link)
    assert getattr(ServiceSettings(), name) == expected


@pytest.mark.parametrize(("name", "field"), Settings.model_fields.items(), ids=list(Settings.model_fields))
def test_every_setting_is_described(name: str, field: Any) -> None:
    """The description is one line for the table of settings."""
    assert field.description
    assert "\n" not in field.description
    assert field.description[0].islower() or field.description.startswith("Redis"), name


def test_what_we_create_is_the_owners_alone(tmp_path: Path) -> None:
    """Each missing folder is made without access for others, whatever the umask; existing ones are left as they are."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        make_private(shared / "home" / "reports")
        make_private(shared)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (shared, shared / "home", shared / "home" / "reports")]
    assert modes == [0o755, 0o700, 0o700]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """A folder cannot be made where there is a file."""
    (tmp_path / "home").touch()
    with pytest.raises(OSError, match="home"):
        make_private(tmp_path / "home")
