"""The stream of one job: how it was submitted, what happened and happens to it, and all of it at its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arqway.service.access.callers import Caller
from arqway.service.sse.frames import HEARTBEAT, end_frame, gap_frame, job_frame, submitted_frame
from arqway.workers.client import JobQueue
from arqway.workers.client.following import JobFollower, JobNews, follow_job
from arqway.workers.contract.errors import JobNotFound
from arqway.workers.contract.events import START


class JobFrames:
    """What the stream of a job sends.

    Args:
        follower: Tells the job's events.
        operator: Whether the job's end is told to an operator.
    """

    def __init__(self, follower: JobFollower, *, operator: bool) -> None:
        self.news = follower.news
        self.first: list[bytes] = []
        self.ended = False
        self._follower = follower
        self._operator = operator

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return what came since the last call."""
        try:
            return self.write(await self._follower.next(timeout_s=timeout_s))
        except JobNotFound:  # its record was deleted
            self.ended = True
            return []

    def write(self, news: JobNews) -> list[bytes]:
        """Return the frames of what the follower tells. The job itself stands for the event that ends it."""
        frames = [gap_frame()] if news.gap else []
        frames += [job_frame(event) for event in news.events if not event.ends]
        if news.end is not None:
            frames.append(end_frame(news.end, self._follower.last, operator=self._operator))
            self.ended = True
        return frames

    def heartbeat(self) -> bytes:
        """Return a comment."""
        return HEARTBEAT


@asynccontextmanager
async def job_frames(
    queue: JobQueue, caller: Caller, job_id: str, after: str | None
) -> AsyncIterator[JobFrames | None]:
    """Give the frames of a job, from its submission on or behind an event; None if nothing follows that.

    Raises JobNotFound, also for another tenant's job, or StoreUnavailable.
    """
    async with follow_job(queue.feed, queue.streams, caller.tenant, job_id, after or START) as follower:
        record, kept = await follower.first()
        if after is not None and record.finished and not kept.events:
            yield None
            return
        frames = JobFrames(follower, operator=caller.is_operator)
        frames.first = frames.write(kept)
        if after is None:
            frames.first.insert(0, submitted_frame(record, START))
        yield frames
