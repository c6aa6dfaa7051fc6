"""A program with one ``SyncJobQueue`` for the processes that are forked from it, as under gunicorn with preloading.

Prints the ids of the jobs that it and its children submitted, all while threads of the parent go on submitting.
"""

import os
import signal
import sys
import threading

from arqway import Registry, SyncJobQueue
from tests.support.jobs import Number, double

JOBS = SyncJobQueue(Registry([double]))
CHILDREN = 4
BEFORE = 20


def submit() -> str:
    """Submit one job."""
    return JOBS.submit(double, Number(value=1)).id


def main(*, opened: bool) -> None:
    """Fork, with the client opened before or not."""
    stop = threading.Event()
    told: list[str] = []

    def go_on() -> None:
        while not stop.is_set():
            told.append(submit())

    threads = [threading.Thread(target=go_on) for _ in range(4 if opened else 0)]
    for thread in threads:
        thread.start()
    while opened and len(told) < BEFORE:
        stop.wait(0.001)
    children = [_forked() for _ in range(CHILDREN)]
    signal.alarm(40)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    told.append(submit())
    stop.set()
    for thread in threads:
        thread.join()
    JOBS.close()
    print("\n".join(told))  # noqa: T201
    sys.exit(max(codes))


def _forked() -> int:
    """Return the id of a child process that submits from two threads, reads, closes, and ends in the usual way."""
    if pid := os.fork():
        return pid
    signal.alarm(30)  # a child that hangs ends, and the test fails
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(submit())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.id for record in JOBS.read_many(ids)] == ids
    os.write(1, "".join(f"{job_id}\n" for job_id in ids).encode())
    sys.exit(0)


if __name__ == "__main__":
    main(opened=sys.argv[1] == "opened")
