"""Signals that ask a process to end, heard while something is to be brought to a good end first."""

import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, TypeVar

from mdhr_jax.progress import announce

SAVED = 75
"""Exit code of a training that was told to stop and has saved; EX_TEMPFAIL: it is to be started again."""

_L = TypeVar("_L", bound="Listener")


class Listener:
    """Has `receive` called at signals while it is entered; then they do again what they did before.

    SIGHUP is left alone where it is ignored: who started this with nohup wants it to outlive the terminal.

    Args:
        signals: to be heard.
    """

    def __init__(self, signals: Sequence[signal.Signals]):
        self._signals = tuple(signals)
        self.previous: dict[signal.Signals, Any] = {}

    def __enter__(self: _L) -> _L:
        heard = [n for n in self._signals if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
        self.previous = {number: signal.signal(number, self.receive) for number in heard}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self.previous.items():
            signal.signal(number, previous)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """What happens at a signal."""
        raise NotImplementedError


class StopRequest(Listener):
    """Turns SIGTERM, SIGUSR1 and Ctrl-C into a flag while it is entered; a second Ctrl-C stops at once.

    SIGUSR1 is what Slurm is asked to send before a job's time is over.

    Attributes:
        received: whether a signal came.
    """

    def __init__(self) -> None:
        super().__init__((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT))
        self.received = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Asks the loop to stop at its next step."""
        self.received = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self.previous[signal.SIGINT])
            announce("\nstopping after this step; Ctrl-C again stops at once and loses what is not saved")


class ToldToStop(KeyboardInterrupt):
    """A signal asked the process to end where it has nothing to save."""


class StopAtOnce(Listener):
    """Turns SIGTERM and SIGUSR1 into `ToldToStop` while it is entered, as Python does with Ctrl-C.

    For what has nothing to save; `StopRequest` goes before it where it is entered inside.
    """

    def __init__(self) -> None:
        super().__init__((signal.SIGTERM, signal.SIGUSR1))

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Ends what is being done.

        Raises:
            ToldToStop: always.
        """
        raise ToldToStop(signal.Signals(number).name)
