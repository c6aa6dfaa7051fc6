"""The shop's background jobs."""

import asyncio

from arqway import DiscardJob, JobContext, Registry, RetryPolicy, job
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError

from service.postage import postage_cents
from shop.database import PlacedOrder, Sessions, open_database

GRAMS = {"tea": 125, "coffee": 500, "kettle": 1_350}
SECONDS_PER_PIECE = 0.05


class Order(BaseModel):
    """Which order."""

    number: int


class Weighed(BaseModel):
    """What came out."""

    grams: int
    postage_cents: int


@job("order.weigh", retry=RetryPolicy(max_attempts=5, on=(OperationalError,)))
async def weigh_order(ctx: JobContext[Sessions], payload: Order) -> Weighed:
    """Put an order on the scales, piece by piece, and note its weight and postage."""
    async with ctx.resources() as session:
        placed = await session.get(PlacedOrder, payload.number)
        if placed is None:
            raise DiscardJob("unknown_order", f"There is no order {payload.number}.")
        grams = 0
        for piece in range(1, placed.pieces + 1):
            await asyncio.sleep(SECONDS_PER_PIECE)  # scales are slow
            grams += GRAMS[placed.item]
            await ctx.progress(piece, total=placed.pieces, message="Weighing")
        placed.grams, placed.postage_cents = grams, postage_cents(grams)
        await session.commit()
    return Weighed(grams=grams, postage_cents=postage_cents(grams))


JOBS = Registry([weigh_order], resources=open_database)
