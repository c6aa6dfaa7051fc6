"""Fixtures of an application with Arqway inside."""

from collections.abc import Iterator

import pytest
from fastapi import Depends
from fastapi.testclient import TestClient

from arqway import Arqway
from arqway.workers.settings import Settings
from tests.integration.embedding.host import JOBS, host_app, signed_in, who_calls
from tests.support.http import service_settings


@pytest.fixture
def arqway(settings: Settings) -> Arqway:
    """The owner's Arqway, on the test's own server."""
    return Arqway(JOBS, settings=service_settings(settings))


@pytest.fixture
def host(arqway: Arqway) -> Iterator[TestClient]:
    """The owner's application with Arqway below /background, behind its own login."""
    app = host_app(arqway)
    app.include_router(arqway.router(prefix="/background", caller=who_calls, dependencies=[Depends(signed_in)]))
    with TestClient(app) as client:
        yield client
