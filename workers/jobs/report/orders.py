"""The orders: loaded once into the database from the data set in ``data/``, then read one customer at a time."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import as_file, files
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from arqway.workers.jobs.report import schema
from arqway.workers.jobs.report.database import insert_if_absent
from arqway.workers.jobs.report.summary import Order

DATASET = "cdnow_orders"


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The shop's orders in one database."""

    engine: AsyncEngine

    async def load(self) -> bool:
        """Load the data set unless the database has it; return whether this call did.

        One transaction, which starts by writing the marker. Of several concurrent loaders, one writes it; the others
        wait for that row, find it taken once the winner has committed, and load nothing. If the winner dies, its
        marker is gone, too.
        """
        async with self.engine.begin() as connection:
            marker = insert_if_absent(connection.dialect.name, schema.datasets)
            marked = await connection.execute(marker, {"name": DATASET, "loaded_at": datetime.now(UTC)})
            if marked.rowcount:
                await connection.execute(insert(schema.orders), list(_rows()))
            return bool(marked.rowcount)

    async def of_customer(self, customer_id: int) -> tuple[Order, ...]:
        """Return the orders of one customer, oldest first; empty if there is no such customer."""
        table = schema.orders.c
        query = (
            select(table.ordered_on, table.cds, table.cents)
            .where(table.customer_id == customer_id)
            .order_by(table.ordered_on, table.id)
        )
        async with self.engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(Order(row.ordered_on, row.cds, Decimal(row.cents) / 100) for row in rows)


def _rows() -> Iterator[dict[str, Any]]:
    with (
        as_file(files("arqway.workers.jobs.report") / "data" / f"{DATASET}.csv.gz") as path,
        gzip.open(path, "rt") as lines,
    ):
        for order in csv.DictReader(lines):
            yield {
                "customer_id": int(order["customer_id"]),
                "ordered_on": date.fromisoformat(order["ordered_on"]),
                "cds": int(order["cds"]),
                "cents": int(Decimal(order["usd"]) * 100),
            }
