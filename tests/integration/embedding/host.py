"""An application with a login, routes, handlers and a lifespan of its own, into which Arqway is mounted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from arqway import Arqway, Caller, JobContext, JobQueue, Registry, job

USERS = {"ann": Caller("acme", ["submit", "read", "operate"], name="ann"), "bob": Caller("bobs", name="bob")}


class Order(BaseModel):
    """What a customer orders."""

    item: str
    grams: int


class OrderAccepted(BaseModel):
    """What the customer is told."""

    job_id: str


@job("order.weigh")
async def weigh_order(ctx: JobContext, payload: Order) -> int:
    """Weigh an order."""
    return payload.grams


@job("mail.send")
async def send_mail(ctx: JobContext, payload: str) -> None:
    """Send a mail."""


JOBS = Registry([weigh_order])
MAILS = Registry([send_mail])


class NotSignedInError(Exception):
    """The owner's own error, answered by the owner's own handler."""


def signed_in(authorization: Annotated[str | None, Header()] = None) -> str:
    """Return who is signed in."""
    if authorization not in USERS:
        raise NotSignedInError
    return authorization


def who_calls(user: Annotated[str, Depends(signed_in)]) -> Caller:
    """Return the user as a caller of Arqway."""
    return USERS[user]


def host_app(arqway: Arqway, events: list[str] | None = None) -> FastAPI:
    """Return the application, without Arqway's routes."""
    seen = events if events is not None else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        seen.append("host opened")
        yield {"greeting": "hello"}
        seen.append("host closed")

    app = FastAPI(lifespan=lifespan)
    jobs_of = Annotated[JobQueue, Depends(arqway.queue)]

    @app.exception_handler(NotSignedInError)
    async def refuse(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"please": "sign in"}, 401)

    @app.exception_handler(HTTPException)
    async def answer(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"host says": error.detail}, error.status_code)

    @app.post("/orders", status_code=202)
    async def order(body: Order, jobs: jobs_of) -> OrderAccepted:
        accepted = await jobs.submit(weigh_order, body)
        return OrderAccepted(job_id=accepted.id)

    @app.get("/orders/{job_id}")
    async def read_order(job_id: str, jobs: jobs_of) -> dict[str, str]:
        return {"state": (await jobs.read(job_id)).state}

    @app.get("/greeting")
    async def greet(request: Request) -> str:
        return str(request.state.greeting)

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "a teapot")

    return app
