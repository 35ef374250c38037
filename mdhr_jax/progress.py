"""Progress of long work: a bar in a terminal, an occasional line in a log file."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

_quiet = False
_unfinished: "Progress | None" = None
"""Whose line in a terminal has no end yet."""

_LEAST_SECONDS = 1.0
"""Before so much time has passed a rate says nothing: results come in batches."""


def be_quiet() -> None:
    """From now on this process announces nothing and shows no progress: another one speaks for its run."""
    global _quiet
    _quiet = True


def announce(text: str) -> None:
    """Prints a line to standard error, where progress is shown too."""
    if not _quiet:
        _clear_line()
        tell(text)


def tell(text: str) -> None:
    """Prints a line to standard error whatever is shown, in one write: other threads' lines stay apart."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def report(text: str) -> None:
    """Prints a line of results to standard output, while progress is shown too."""
    _clear_line()
    print(text, flush=True)


def _clear_line() -> None:
    """Makes room for a line; the progress that stood there is drawn again below it."""
    if _unfinished is not None:
        _unfinished.clear()


def counted(number: int, what: str) -> str:
    """``1 video``, ``2 videos``.

    Args:
        number: how many.
        what: one of them; an s makes it several.
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def _singular(unit: str) -> str:
    return f"{unit[:-3]}y" if unit.endswith("ies") else unit.removesuffix("s")


def format_duration(seconds: float) -> str:
    """Seconds as ``42s``, ``3m05s`` or ``2h07m``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _format_rate(rate: float, unit: str) -> str:
    """Units a second; of what takes longer than twenty seconds, units an hour."""
    return f"{3600 * rate:.1f} {unit}/h" if 0 < rate < 0.05 else f"{rate:.1f} {unit}/s"


class Progress:
    """Shows how far a loop is, its rate and the time left.

    In a terminal one line is redrawn about ten times a second; elsewhere a line is printed at most
    every `log_every` seconds, so that log files stay short.

    Args:
        total: units of work in all; 0 where nobody knows.
        unit: what is counted, in the plural (``frames``, ``steps``).
        label: what is being done.
        initial: units done before (a resumed run); they do not count towards the rate.
        stream: text stream to write to; standard error by default.
        log_every: seconds between lines where the stream is not a terminal.

    Attributes:
        fraction: of the work, how much is done, for the bar where nobody knows the total.
    """

    def __init__(
        self,
        total: int,
        *,
        unit: str,
        label: str,
        initial: int = 0,
        stream: Any = None,
        log_every: float = 10.0,
    ):
        self.total = total
        self.unit = unit
        self.label = label
        self.done = initial
        self.note = ""
        self.fraction: float | None = None
        self._initial = initial
        self._stream = stream if stream is not None else sys.stderr
        self._is_terminal = self._stream.isatty()
        self._interval = 0.1 if self._is_terminal else log_every
        self._begin = self._start = self._last_shown = time.monotonic()
        self._open_line = False
        self._told: tuple[int, str] | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _unfinished
        if self._is_terminal or self._told != (self.done, self.note):
            self._show()
        if self._open_line:
            self._stream.write("\n")
            self._stream.flush()
        if _unfinished is self:
            _unfinished = None

    def clear(self) -> None:
        """Removes the line from a terminal; what is counted next draws it again."""
        if self._open_line:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._open_line = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of other work out of the rate."""
        before = time.monotonic()
        try:
            yield
        finally:
            self._start += time.monotonic() - before

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        return max(self.done - self._initial, 0) / max(time.monotonic() - self._start, 1e-9)

    def restart(self, count: int) -> None:
        """Leaves what was done so far out of the rate, such as a first step that compiles.

        Args:
            count: units finished that are still to be counted by `update`.
        """
        self._initial, self._start = self.done + count, time.monotonic()

    def update(self, count: int = 1, note: str | None = None) -> None:
        """Counts work done.

        Args:
            count: units finished since the last call.
            note: text shown behind the rate from now on, such as the current loss.
        """
        self.done += count
        if note is not None:
            self.note = note
        if time.monotonic() - self._last_shown >= self._interval:
            self._show()

    def _show(self) -> None:
        global _unfinished
        self._last_shown = time.monotonic()
        self._told = self.done, self.note
        if _quiet:
            return
        share = self.done / self.total if self.total else 1.0 if self.fraction is None else self.fraction
        unit = _singular(self.unit) if (self.total or self.done) == 1 else self.unit
        of_total = f"/{self.total} {unit} ({share:.0%})" if self.total else f" {unit}"
        text = f"{self.label}: {self.done}{of_total}"
        rate = self.rate
        measured = time.monotonic() - self._start >= _LEAST_SECONDS
        if measured:
            text += f", {_format_rate(rate, self.unit)}"
        if self.done >= self.total:
            text += f", {format_duration(time.monotonic() - self._begin)}"
        elif measured:
            text += f", {format_duration((self.total - self.done) / rate) if rate > 0 else '?'} left"
        text += f", {self.note}" if self.note else ""
        if self._is_terminal:
            bar = "#" * int(20 * share)
            self._stream.write(f"\r\x1b[K[{bar:<20}] {text}")
            self._open_line, _unfinished = True, self
        else:
            self._stream.write(text + "\n")
        self._stream.flush()
