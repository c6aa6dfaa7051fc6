"""What a client of jobs can do: the HTTP service, scripts beside Redis, and jobs that submit jobs.

Read ``queue`` first: ``JobQueue`` submits, reads, waits and cancels.
"""

from workers.client.queue import JobQueue, open_queue

__all__ = ["JobQueue", "open_queue"]
