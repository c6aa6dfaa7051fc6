"""What a person at the terminal reads: plain lines, the news on stdout and the trouble on stderr."""

import sys


def say(line: str = "") -> None:
    """Print a line now, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str) -> None:
    """Print a line about something unexpected."""
    sys.stderr.write(f"arqway: {line}\n")
    sys.stderr.flush()
