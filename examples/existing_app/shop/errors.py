"""The shop's own errors and how they are answered."""

from fastapi import Request
from fastapi.responses import JSONResponse


class ShopError(Exception):
    """A request that cannot be served; the customer is told why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def answer_shop_error(_: Request, error: Exception) -> JSONResponse:
    """Answer in the shop's own format."""
    assert isinstance(error, ShopError)
    return JSONResponse({"error": str(error)}, error.status)


async def answer_job_store_away(_: Request, __: Exception) -> JSONResponse:
    """Answer while Redis is away."""
    return JSONResponse({"error": "We are busy. Please try again."}, 503, {"Retry-After": "5"})
