"""Orders as customers see them, and as they are kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from shop.database import Account, PlacedOrder
from shop.errors import ShopError


class NewOrder(BaseModel):
    """What a customer orders."""

    item: Literal["tea", "coffee", "kettle"]
    pieces: int = Field(ge=1, le=100)


class OrderAccepted(BaseModel):
    """What the customer is told at once."""

    number: int
    job_id: str


class OrderView(BaseModel):
    """An order and how far it is."""

    number: int
    item: str
    pieces: int
    state: str
    pieces_weighed: int
    grams: int | None
    postage_cents: int | None


@asynccontextmanager
async def placing(session: AsyncSession, account: Account, order: NewOrder) -> AsyncIterator[PlacedOrder]:
    """Keep an order before its job is submitted, for the job looks for it; take it back if the job is refused."""
    placed = PlacedOrder(account_id=account.id, item=order.item, pieces=order.pieces)
    session.add(placed)
    await session.commit()
    try:
        yield placed
    except BaseException:
        await session.delete(placed)
        await session.commit()
        raise


async def find(session: AsyncSession, account: Account, number: int) -> PlacedOrder:
    """Return an order of this customer."""
    placed = await session.get(PlacedOrder, number)
    if placed is None or placed.account_id != account.id:
        raise ShopError(404, f"You have no order {number}.")
    return placed


def view_of(placed: PlacedOrder, state: str, pieces_weighed: int) -> OrderView:
    """Return what the customer sees of an order."""
    return OrderView(
        number=placed.number,
        item=placed.item,
        pieces=placed.pieces,
        state=state,
        pieces_weighed=pieces_weighed,
        grams=placed.grams,
        postage_cents=placed.postage_cents,
    )
