"""The jobs as plain functions: no app, no queue, no worker."""

import asyncio

import pytest
from arqway import DiscardJob, JobContext, LocalAttempt

from shop.database import PlacedOrder, open_database
from shop.jobs import Order, Weighed, weigh_order


def test_an_order_is_weighed_piece_by_piece() -> None:
    """The result is in the order, too, and each piece is reported."""

    async def weigh() -> None:
        link = LocalAttempt()
        async with open_database() as sessions, sessions() as session:
            session.add(PlacedOrder(number=1, account_id=1, item="kettle", pieces=2))
            await session.commit()
            weighed = await weigh_order(JobContext(sessions, link=link), Order(number=1))
            assert weighed == Weighed(grams=2_700, postage_cents=790)
            await session.refresh(placed := await session.get_one(PlacedOrder, 1))
            assert (placed.grams, placed.postage_cents) == (2_700, 790)
        assert [(report.current, report.total) for report in link.reports] == [(1, 2), (2, 2)]

    asyncio.run(weigh())


def test_an_order_that_was_taken_back_is_not_tried_again() -> None:
    """The job ends with a code for those who look at it."""

    async def weigh() -> None:
        async with open_database() as sessions:
            await weigh_order(JobContext(sessions), Order(number=7))

    with pytest.raises(DiscardJob) as refused:
        asyncio.run(weigh())
    assert refused.value.code == "unknown_order"
