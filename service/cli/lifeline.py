"""The lifeline: a pipe whose other end a parent holds, so that its children notice when it is killed.

A parent that gets SIGKILL cannot stop anybody. The kernel closes its end of the pipe, though; each child waits for that
in a thread and then stops as it does on SIGTERM, so neither a taken port nor a worker is left behind.
"""

import os
import signal
from threading import Thread


def end_with_parent(descriptor: int) -> None:
    """Send SIGTERM to this process once nobody holds the other end of ``descriptor``'s pipe any more."""
    Thread(target=_wait_and_end, args=(descriptor,), name="lifeline", daemon=True).start()


def _wait_and_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
