"""What Arqway's routes name in their answers is what the client must ask for, wherever they are mounted."""

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from starlette.routing import Mount

from arqway import Arqway, Caller
from arqway.service.app import create_app
from arqway.workers.settings import Settings
from tests.integration.embedding.host import JOBS, host_app
from tests.support.api_keys import bearer, make_key
from tests.support.http import service_settings

ANN = {"authorization": "ann"}
ORDER = {"item": "tea", "grams": 100}


def test_a_problem_leads_to_its_page_below_the_prefix(host: TestClient) -> None:
    """The link of a problem can be followed, and the page leads back to the others."""
    refused = host.get("/background/jobs/none", headers=ANN)
    assert refused.headers["link"] == '</background/problems/job-not-found>; rel="help"'
    page = host.get("/background/problems/job-not-found", headers={**ANN, "accept": "text/html"})
    assert 'href="/background/problems"' in page.text


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("outer", ["", "/v1"])
def test_paths_respect_every_prefix_and_the_root_path(arqway: Arqway, root: str, outer: str) -> None:
    """Location, Link and pages name what the client must ask for, behind a proxy that strips a root path, too."""
    app = host_app(arqway)
    between = APIRouter()
    between.include_router(arqway.router(prefix="/background", caller=lambda: Caller()))
    app.include_router(between, prefix=outer)
    with TestClient(app, root_path=root) as client:
        for _ in range(2):
            taken = client.post(f"{outer}/background/jobs/order.weigh", json=ORDER)
        base = f"{root}{outer}/background"
        assert taken.headers["location"] == f"{base}/jobs/{taken.json()['id']}"
        page = client.get(f"{outer}/background/jobs?limit=1")
        assert page.headers["link"].startswith(f"<{base}/jobs?limit=1&cursor=")
        refused = client.get(f"{outer}/background/jobs/none")
        assert refused.headers["link"] == f'<{base}/problems/job-not-found>; rel="help"'


def test_a_mounted_application_has_its_paths_below_the_mount(arqway: Arqway) -> None:
    """An application that is itself mounted below a path is found there."""
    inner = FastAPI(lifespan=arqway.lifespan)
    inner.include_router(arqway.router(prefix="/background", caller=lambda: Caller()))
    outer = FastAPI(lifespan=arqway.lifespan, routes=[Mount("/shop", inner)])
    with TestClient(outer) as client:
        taken = client.post("/shop/background/jobs/order.weigh", json=ORDER)
        assert taken.headers["location"] == f"/shop/background/jobs/{taken.json()['id']}"


@pytest.mark.parametrize("asked", ["", "/api"])
async def test_the_service_itself_has_a_root_path(settings: Settings, asked: str) -> None:
    """With ARQWAY_ROOT_PATH all paths begin with it, whether the proxy in front strips it from requests or not."""
    app = create_app(service_settings(settings, root_path="/api", auth="keys"), JOBS)
    key = bearer(await make_key(settings))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://localhost") as client,
    ):
        taken = await client.post(f"{asked}/jobs/order.weigh", json=ORDER, headers=key)
        assert taken.headers["location"] == f"/api/jobs/{taken.json()['id']}"
        refused = await client.get(f"{asked}/jobs/none", headers=key)
        assert refused.headers["link"] == '</api/problems/job-not-found>; rel="help"'
        assert (await client.get(f"{asked}/livez")).status_code == 200
        page = await client.get(f"{asked}/problems/job-not-found", headers={"accept": "text/html"})
        assert 'href="/api/problems"' in page.text
        assert "content-security-policy" not in (await client.get(f"{asked}/docs")).headers
        assert (await client.get(f"{asked}/openapi.json")).json()["servers"] == [{"url": "/api"}]
        stranger = await client.get(f"{asked}/jobs/none")
        assert (stranger.status_code, stranger.headers["link"]) == (401, '</api/problems/unauthenticated>; rel="help"')
