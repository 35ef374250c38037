"""Keeps what Orbax and TensorStore print of their inner workings out of a run's output."""

import logging
import os
import sys
from typing import Any


class _OrbaxFilter(logging.Filter):
    """Drops what Orbax tells about its inner workings through absl's logger.

    Its errors pass, except those that carry a traceback: they are raised as well.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        from_orbax = f"{os.sep}orbax{os.sep}" in record.pathname
        return not from_orbax or (record.levelno >= logging.ERROR and not record.exc_info)


def quiet_orbax() -> None:
    """Silences them for the rest of the process; what fails is still raised."""
    logger = logging.getLogger("absl")
    if any(isinstance(known, _OrbaxFilter) for known in logger.filters):
        return
    logger.addFilter(_OrbaxFilter())
    # A failed write is raised as one `CheckpointError`; what its other tasks say of it only hides that.
    logging.getLogger("asyncio").addFilter(lambda record: "was never retrieved" not in record.getMessage())
    other = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # Where one of several reads or writes fails, TensorStore tells of each of the others to Orbax's event
        # loop, which has closed by then.
        if "Event loop is closed" not in str(unraisable.exc_value):
            other(unraisable)

    sys.unraisablehook = hook
