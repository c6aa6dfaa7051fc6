"""Accounts with passwords, and bearer tokens for those who know theirs."""

import asyncio
import hashlib
import hmac
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from shop.database import Account, Login, Session
from shop.errors import ShopError

router = APIRouter(tags=["login"])
bearer = HTTPBearer(auto_error=False)
TOKEN_LIFE_S = 12 * 3600


class Credentials(BaseModel):
    """What a customer signs in with."""

    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)
    password: str = Field(min_length=8, max_length=200)


class Token(BaseModel):
    """Sent as ``Authorization: Bearer …`` from now on."""

    token: str


@router.post("/accounts", status_code=204)
async def sign_up(body: Credentials, session: Session) -> None:
    """Open an account."""
    salt = secrets.token_bytes(16)
    session.add(Account(email=body.email, salt=salt, password_hash=await hashed(body.password, salt)))
    try:
        await session.commit()
    except IntegrityError:
        raise ShopError(409, "There is an account with this address.") from None


@router.post("/login")
async def log_in(body: Credentials, session: Session) -> Token:
    """Return a token."""
    account = await session.scalar(select(Account).where(Account.email == body.email))
    guess = await hashed(body.password, account.salt if account else b"none")
    if account is None or not hmac.compare_digest(guess, account.password_hash):
        raise ShopError(401, "The address or the password is wrong.")
    token = secrets.token_urlsafe(32)
    session.add(Login(digest=digest(token), account_id=account.id, expires_at=time.time() + TOKEN_LIFE_S))
    await session.commit()
    return Token(token=token)


async def signed_in(session: Session, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Account:
    """Return whose token came with the request."""
    login = await session.get(Login, digest(sent.credentials)) if sent else None
    if login is None or login.expires_at < time.time():
        raise ShopError(401, "Please sign in.")
    return await session.get_one(Account, login.account_id)


SignedIn = Annotated[Account, Depends(signed_in)]


async def hashed(password: str, salt: bytes) -> bytes:
    """Return the password's hash, computed beside the event loop."""
    return await asyncio.to_thread(hashlib.scrypt, password.encode(), salt=salt, n=2**14, r=8, p=1)


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()
