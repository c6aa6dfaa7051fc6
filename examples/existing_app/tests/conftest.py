"""What the shop's tests share: each has a database and a job queue of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from shop.main import app

ADA = {"email": "ada@shop.test", "password": "correct horse"}


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    monkeypatch.setenv("ARQWAY_HOME", str(tmp_path))  # the job queue: an embedded server, started with the app
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def shop() -> Iterator[TestClient]:
    """The app while it runs: only in a `with` block does a TestClient start it."""
    with TestClient(app) as client:
        yield client
    app.dependency_overrides.clear()


@pytest.fixture
def ada(shop: TestClient) -> TestClient:
    """The app, asked by a customer who has signed in."""
    assert shop.post("/accounts", json=ADA).status_code == 204
    token = shop.post("/login", json=ADA).json()["token"]
    shop.headers["Authorization"] = f"Bearer {token}"
    return shop
