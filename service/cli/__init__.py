"""``arqway``: the command line. ``main`` is the entry point, and ``commands`` lists the commands.

A command is a function that returns its exit code: 0 or None for success, 1 for failure. Errors add 2 for unusable
input. It is imported only when it is called, so that ``arqway --help`` is fast.
"""

import sys
from collections.abc import Sequence

from arqway.service.cli.commands import run
from arqway.service.cli.terminal import INTERRUPTED, WRONG_INPUT, CommandError, warn
from arqway.workers.contract.errors import ConfigurationError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Errors are reported in one line, never as a traceback."""
    try:
        return run(arguments)
    except CommandError as error:
        warn(" ".join(str(error).split()), speaker=error.speaker)
        return error.code
    except ConfigurationError as error:
        warn(" ".join(str(error).split()))
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, e.g. `| head`
        return 0
