from pathlib import Path

import pytest
from pydantic import ValidationError

from arqway.workers.jobs.report.settings import ReportSettings


def test_everything_lives_below_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ARQWAY_HOME alone moves database and store."""
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path))

    settings = ReportSettings()

    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/arqway.db"
    assert settings.store_url == f"{tmp_path.as_uri()}/reports"


def test_each_setting_can_be_given_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """ARQWAY_REPORT_* sets one setting each."""
    monkeypatch.setenv("ARQWAY_REPORT_STORE_URL", "s3://bucket/reports")
    monkeypatch.setenv("ARQWAY_REPORT_FAILURE_RATE", "0.3")
    monkeypatch.setenv("ARQWAY_REPORT_FAILURE_SEED", "42")

    settings = ReportSettings()

    assert (settings.store_url, settings.failure_rate, settings.failure_seed) == ("s3://bucket/reports", 0.3, 42)


@pytest.mark.parametrize("rate", ["-0.1", "1.1", "often"])
def test_a_rate_outside_0_to_1_is_refused(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    """A failure rate is a share."""
    monkeypatch.setenv("ARQWAY_REPORT_FAILURE_RATE", rate)

    with pytest.raises(ValidationError, match=r"(?i)failure_rate"):
        ReportSettings()
