"""The shop: ``uvicorn shop.main:app``, and ``arqway worker shop.main:arqway`` beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from arqway import Arqway, Caller, JobNotFound, JobQueue, StoreUnavailable
from fastapi import Depends, FastAPI

from shop import login
from shop.database import Session, Sessions, open_database
from shop.errors import ShopError, answer_job_store_away, answer_shop_error
from shop.jobs import JOBS, Order, weigh_order
from shop.login import SignedIn, signed_in
from shop.orders import NewOrder, OrderAccepted, OrderView, find, placing, view_of


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Sessions]]:
    """Keep the database open while the app runs."""
    async with open_database() as sessions:
        yield {"sessions": sessions}


def who_calls(account: SignedIn) -> Caller:
    """Return the customer as Arqway sees them: they may follow their jobs, and the shop alone submits."""
    return Caller(account.tenant, ["read"], name=account.email)


arqway = Arqway(JOBS)
app = FastAPI(title="Shop", lifespan=lifespan)
app.include_router(arqway.router(prefix="/background", caller=who_calls, dependencies=[Depends(signed_in)]))
Jobs = Annotated[JobQueue, Depends(arqway.queue)]

app.include_router(login.router)
app.add_exception_handler(ShopError, answer_shop_error)
app.add_exception_handler(StoreUnavailable, answer_job_store_away)


@app.post("/orders", status_code=202)
async def order(body: NewOrder, account: SignedIn, session: Session, jobs: Jobs) -> OrderAccepted:
    """Take an order, and have it weighed."""
    async with placing(session, account, body) as placed:
        job = await jobs.submit(weigh_order, Order(number=placed.number), job_id=placed.job_id, tenant=account.tenant)
    return OrderAccepted(number=placed.number, job_id=job.id)


@app.get("/orders/{number}")
async def read_order(number: int, account: SignedIn, session: Session, jobs: Jobs) -> OrderView:
    """Show an order, and how far the scales are."""
    placed = await find(session, account, number)
    try:
        record = await jobs.read(placed.job_id, tenant=account.tenant)
    except JobNotFound:  # an ended job is forgotten after a day, the order is not
        weighed = placed.grams is not None
        return view_of(placed, "succeeded" if weighed else "unknown", placed.pieces if weighed else 0)
    return view_of(placed, record.state, int(record.progress.current) if record.progress else 0)
