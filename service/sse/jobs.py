"""The stream of one job: its submission, its past and new events, and finally the finished job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arqway.service.access.callers import Caller
from arqway.service.sse.frames import HEARTBEAT, end_frame, gap_frame, job_frame, submitted_frame
from arqway.workers.client import JobQueue
from arqway.workers.client.following import JobFollower, JobNews, follow_job
from arqway.workers.contract.errors import JobNotFound
from arqway.workers.contract.events import START


class JobFrames:
    """The frames of a job's stream.

    Args:
        follower: Returns the job's events.
        operator: Whether the client is an operator, who sees more of a failure.
    """

    def __init__(self, follower: JobFollower, *, operator: bool) -> None:
        self.news = follower.news
        self.first: list[bytes] = []
        self.ended = False
        self._follower = follower
        self._operator = operator

    async def next(self, *, timeout_s: float) -> list[bytes]:
        """Return the frames since the last call."""
        try:
            return self.write(await self._follower.next(timeout_s=timeout_s))
        except JobNotFound:  # its record was deleted
            self.ended = True
            return []

    def write(self, news: JobNews) -> list[bytes]:
        """Encode events from the follower. The finished job takes the place of its final event."""
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
    """Yield the frames of a job, from its submission on or after an event; None if nothing follows that event.

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
