"""Asks a loop to stop at the next step when the process is told to terminate."""

import signal
from types import FrameType, TracebackType
from typing import Any

from mdhr_jax.progress import announce

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a flag while it is entered; a second Ctrl-C stops at once.

    Attributes:
        received: whether a signal came.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
            announce("\nstopping after this step; Ctrl-C again stops at once and loses what is not saved")
