"""How commands end: exit codes, and mistakes told in a line instead of a traceback."""

import signal
import sys
from collections.abc import Callable

DONE = 0
FAILED = 1
"""The command ran, and something is not as it should be; it says what."""
MISTAKE = 2
"""It could not be done: a wrong option or input, a full disk. `argparse` ends with the same code."""
INTERRUPTED = 128 + signal.SIGINT
"""Ended by Ctrl-C; shells say the same of a process that the signal killed."""


def finish(command: Callable[[], int | None], *, interrupted: str = "nothing was written") -> int:
    """Runs a command to its end.

    Args:
        command: returns an exit code, or None for `DONE`. What it raises for its user to read (ValueError,
            OSError, ImportError, RuntimeError) becomes a line on standard error.
        interrupted: what is said of the results after Ctrl-C.

    Returns:
        The exit code.
    """
    try:
        return command() or DONE
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
