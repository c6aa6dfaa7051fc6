"""Fixtures of the report's unit tests."""

from pathlib import Path

import pytest

from tests.support.reports import make_loaded_database


@pytest.fixture(scope="session")
def loaded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the whole data set; read it only."""
    return make_loaded_database(tmp_path_factory.mktemp("orders") / "loaded.db")
