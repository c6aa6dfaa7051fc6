"""The app, the queue and a worker process together."""

import subprocess
from pathlib import Path

from fastapi.testclient import TestClient


def test_a_worker_weighs_an_order(ada: TestClient, tmp_path: Path) -> None:
    """A customer orders and waits for the job's end; then the order has its postage."""
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(["arqway", "worker", "shop.main:arqway"], stdout=log, stderr=log)
    try:
        ada.post("/orders", json={"item": "tea", "pieces": 3})
        ended = ada.get("/background/jobs/order-1", headers={"Prefer": "wait=30"}).json()
        assert (ended["state"], ended["result"]) == ("succeeded", {"grams": 375, "postage_cents": 290})
        order = ada.get("/orders/1").json()
        assert (order["state"], order["pieces_weighed"], order["postage_cents"]) == ("succeeded", 3, 290)
    finally:
        worker.terminate()
        worker.wait(timeout=20)
