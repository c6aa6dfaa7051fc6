"""Why a command ends early; ``main`` prints the one line and leaves with the code."""

WRONG_INPUT = 2
FAILED = 1
INTERRUPTED = 130


class CommandError(Exception):
    """The command cannot go on.

    Args:
        reason: One line for the person at the terminal.
        code: ``WRONG_INPUT`` where other arguments or settings would help, else ``FAILED``.
    """

    def __init__(self, reason: str, code: int = FAILED) -> None:
        super().__init__(reason)
        self.code = code
