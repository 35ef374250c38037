"""Time and speed of a run, over restarts."""

import time


class Clock:
    """Measures the speed of training steps in windows; time between windows does not count.

    Args:
        seconds: wall time that earlier processes of the run took.
        frames: frames that they trained on.

    Attributes:
        frames: frames trained on so far.
    """

    def __init__(self, seconds: float = 0.0, frames: int = 0):
        self.frames = frames
        self._earlier_seconds = seconds
        self._begin = time.monotonic()
        self._measured_frames, self._measured_seconds = 0, 0.0
        self.open_window()

    @property
    def seconds(self) -> float:
        """Wall time of the run."""
        return self._earlier_seconds + time.monotonic() - self._begin

    @property
    def frames_per_second(self) -> float:
        """Mean speed over all windows of this process; 0 before the first has closed."""
        return self._measured_frames / self._measured_seconds if self._measured_seconds else 0.0

    def count(self, frames: int) -> None:
        """Counts a step's frames."""
        self.frames += frames
        self._window_frames += frames

    def open_window(self) -> None:
        """Starts to measure; what was counted since the last window closed is left out."""
        self._window_start, self._window_frames = time.monotonic(), 0

    def close_window(self) -> float:
        """Frames a second since the window was opened. Opens the next one.

        To be called when the device has finished the window's steps.
        """
        seconds, frames = time.monotonic() - self._window_start, self._window_frames
        self._measured_frames += frames
        self._measured_seconds += seconds
        self.open_window()
        return frames / seconds if seconds > 0 else 0.0
