"""The routes, on the real queue and without a worker."""

from arqway import StoreUnavailable
from fastapi.testclient import TestClient

from shop.database import Account
from shop.login import signed_in
from shop.main import app, arqway

TEA = {"item": "tea", "pieces": 3}
BOB = {"email": "bob@shop.test", "password": "battery staple"}


def test_an_order_is_accepted_at_once(ada: TestClient) -> None:
    """Its job waits for a worker, and can be followed below /background."""
    accepted = ada.post("/orders", json=TEA)
    assert (accepted.status_code, accepted.json()) == (202, {"number": 1, "job_id": "order-1"})
    assert ada.get("/orders/1").json()["state"] == "queued"
    assert ada.get("/background/jobs/order-1").json()["kind"] == "order.weigh"


def test_customers_see_their_own(ada: TestClient) -> None:
    """Somebody else's order and its job are not found."""
    ada.post("/orders", json=TEA)
    ada.post("/accounts", json=BOB)
    bob = {"Authorization": f"Bearer {ada.post('/login', json=BOB).json()['token']}"}
    assert ada.get("/orders/1", headers=bob).json() == {"error": "You have no order 1."}
    assert ada.get("/background/jobs/order-1", headers=bob).json()["code"] == "job_not_found"


def test_customers_submit_no_jobs_by_themselves(ada: TestClient) -> None:
    """They have the scope ``read`` only: a job comes from an order."""
    refused = ada.post("/background/jobs/order.weigh", json={"number": 1})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_strangers_are_sent_away(shop: TestClient) -> None:
    """The shop's own login guards the shop's routes and Arqway's, and answers in the shop's own words."""
    for path in ("/orders/1", "/background/jobs", "/background/events"):
        refused = shop.get(path)
        assert (refused.status_code, refused.json()) == (401, {"error": "Please sign in."})
    assert shop.post("/login", json=BOB).status_code == 401


def test_somebody_else_may_stand_in_for_the_login(shop: TestClient) -> None:
    """An override takes the login's place on Arqway's routes, too."""
    app.dependency_overrides[signed_in] = lambda: Account(id=5, email="cy@shop.test")
    shop.post("/orders", json=TEA)
    assert shop.get("/background/jobs/order-1").status_code == 200


def test_an_order_is_taken_back_while_the_queue_is_away(ada: TestClient) -> None:
    """A queue that fails takes the real one's place."""

    class Away:
        async def submit(self, *_: object, **__: object) -> None:
            raise StoreUnavailable

    app.dependency_overrides[arqway.queue] = Away
    refused = ada.post("/orders", json=TEA)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    app.dependency_overrides.clear()
    assert ada.get("/orders/1").status_code == 404
