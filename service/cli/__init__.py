"""``arqway``: the command line. Read ``main``, then ``commands`` for what there is.

A command is a function that returns the exit code: 0 done, 1 it did not work out, 2 the input cannot work. It is
imported when it is called, so that ``arqway --help`` is quick.
"""

import sys
from collections.abc import Sequence

from arqway.service.cli.terminal import INTERRUPTED, CommandError, warn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. What goes wrong is told in one line, never as a traceback."""
    from arqway.service.cli.commands import parse

    try:
        return parse(sys.argv[1:] if arguments is None else arguments).run()
    except CommandError as error:
        warn(" ".join(str(error).split()), speaker=error.speaker)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, e.g. `| head`
        return 0
