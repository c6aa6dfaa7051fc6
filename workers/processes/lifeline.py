"""The lifeline: a pipe whose other end a parent holds, so that its children notice when it is killed.

A parent that gets SIGKILL cannot stop its children. But the kernel closes its end of the pipe; each child waits for
that in a thread and then stops as it does on SIGTERM, so that neither a taken port nor a worker is left behind.
"""

import os
import signal
import time
from threading import Thread


def end_with_parent(descriptor: int, *, within_s: float) -> None:
    """Send SIGTERM to this process once nobody holds the other end of ``descriptor``'s pipe.

    A process that has not ended ``within_s`` seconds later, such as one whose event loop is blocked, gets SIGKILL.
    """
    Thread(target=_wait_and_end, args=(descriptor, within_s), name="lifeline", daemon=True).start()


def _wait_and_end(descriptor: int, within_s: float) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(within_s)
    os.kill(os.getpid(), signal.SIGKILL)
