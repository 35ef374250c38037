"""Prints what a data set holds as JSON: ``python -m data_prep.inspect PATH``; see `inspect_command`."""

import sys
from collections.abc import Sequence

from data_prep import start


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 where something is wrong with the data, 2 after a user's mistake.

    Args:
        argv: the command line; that of the process by default.
    """
    with start.quiet("data_prep.inspect"):
        from data_prep import inspect_command
    return inspect_command.main(argv)


if __name__ == "__main__":
    sys.exit(main())
