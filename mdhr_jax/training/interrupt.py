"""Asks a loop to stop at the next step when the process is told to terminate."""

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Turns SIGTERM into a flag while it is entered.

    Attributes:
        received: whether the signal came.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: Any = None

    def __enter__(self) -> "StopRequest":
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
