"""The shop's tables, and sessions on them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Sessions = async_sessionmaker[AsyncSession]


class Table(DeclarativeBase):
    """What all tables have in common."""


class Account(Table):
    """A customer."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    salt: Mapped[bytes]
    password_hash: Mapped[bytes]

    @property
    def tenant(self) -> str:
        """Whose jobs this customer sees."""
        return f"customer-{self.id}"


class Login(Table):
    """A token that a customer has been given; only its digest is kept."""

    __tablename__ = "logins"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    expires_at: Mapped[float]


class PlacedOrder(Table):
    """An order. Its weight and postage are known once it has been weighed."""

    __tablename__ = "orders"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - the name of a job is made of it, so it is used once

    number: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    item: Mapped[str]
    pieces: Mapped[int]
    grams: Mapped[int | None]
    postage_cents: Mapped[int | None]

    @property
    def job_id(self) -> str:
        """The job that weighs this order."""
        return f"order-{self.number}"


@asynccontextmanager
async def open_database() -> AsyncIterator[Sessions]:
    """Open the database that ``SHOP_DATABASE_URL`` names, and make its tables."""
    engine = create_async_engine(os.environ.get("SHOP_DATABASE_URL", "sqlite+aiosqlite:///shop.db"))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Table.metadata.create_all)
        yield async_sessionmaker(engine, expire_on_commit=False)
    finally:
        await engine.dispose()


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    """Give a request its session."""
    sessions: Sessions = request.state.sessions
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
