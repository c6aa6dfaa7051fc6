"""A feed on the test's own server, and what its listeners hear."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from arqway.workers.client.feed import EventFeed, Subscription
from arqway.workers.contract.events import FeedEvent
from arqway.workers.store.connection import open_redis
from arqway.workers.store.events import Streams
from tests.support.hand_run import HandRun, hand_run

AT_ONCE_S = 3.0
"""Well below the 10 s for which a read blocks where nothing happens."""


@pytest.fixture
async def hand(redis_url: str) -> AsyncIterator[HandRun]:
    """A hand that runs jobs."""
    async with hand_run(redis_url) as hand:
        yield hand


@pytest.fixture
async def streams(redis_url: str) -> AsyncIterator[Streams]:
    """The streams of the server."""
    redis = open_redis(redis_url)
    yield Streams(redis)
    await redis.aclose()


@pytest.fixture
async def feed(streams: Streams) -> AsyncIterator[EventFeed]:
    """A feed over them."""
    feed = EventFeed(streams)
    yield feed
    await feed.close()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Redis]:
    """A look at the server that goes past our own code."""
    with Redis.from_url(redis_url) as client:
        yield client


async def heard(news: Subscription, count: int) -> list[FeedEvent]:
    """Return so many events once they were told."""
    got: list[FeedEvent] = []
    async with asyncio.timeout(AT_ONCE_S):
        while len(got) < count:
            told = await news.next(timeout_s=AT_ONCE_S)
            assert told is not None
            got += told
    assert len(got) == count
    return got


async def end_all(hand: HandRun) -> None:
    """Run all jobs that wait."""
    while claims := await hand.claim():
        await hand.settle(*claims)


def connections(client: Redis) -> int:
    """Return how many connections the server has."""
    return len(client.client_list())  # type: ignore[arg-type]
