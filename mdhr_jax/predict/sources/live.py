"""Frames as they come: whoever is too slow for them loses some and does not lag behind."""

import collections
import contextlib
import signal
import threading
import time
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from mdhr_jax.faces.detector import Detector, Frame
from mdhr_jax.progress import announce

if TYPE_CHECKING:
    from mdhr_jax.predict.predictor import Predictor

_WAITING = 8
"""Frames that wait at most: to search for faces, in some frames, takes longer than to follow them."""
_PATIENCE = 0.1
"""Seconds between looks at whether to stop."""

Timed = tuple[float | None, Frame]


class Live:
    """Frames of a source, read in a thread of its own; iterating gives those that were not left out.

    Args:
        frames: seconds from the first, and pictures.
        paced: whether the source gives its frames at any speed, such as a file; each then comes at its time.

    Attributes:
        dropped: frames that came while others were computed, and were left out.
    """

    def __init__(self, frames: Generator[Timed], *, paced: bool):
        self.dropped = 0
        self._frames, self._paced = frames, paced
        self._queue: collections.deque[Timed] = collections.deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._ended = False
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Ends the frames; to be called from anywhere, a signal's handler included."""
        self._stopping.set()

    def __iter__(self) -> Iterator[Timed]:
        """The frames.

        Raises:
            ValueError: as the source, after the frames before; or it has no times and needs some.
        """
        thread = threading.Thread(target=self._read, name="frames", daemon=True)
        thread.start()
        try:
            while True:
                with self._changed:
                    if not self._queue and not self._ended:
                        self._changed.wait(_PATIENCE)
                    frame = self._queue.popleft() if self._queue else None
                    ended = self._ended or self._stopping.is_set()
                if frame is not None:
                    yield frame
                elif ended:
                    break
            if self._error is not None and not self._stopping.is_set():
                raise self._error
        finally:
            self._stopping.set()
            # A camera that hangs must not hold up the end.
            thread.join(timeout=2.0)

    def _read(self) -> None:
        try:
            with contextlib.closing(self._frames) as frames:
                start = time.monotonic()
                for number, (when, picture) in enumerate(frames):
                    if number == 0:
                        start = time.monotonic()
                    if self._paced:
                        self._wait_until(start, when)
                    if self._stopping.is_set():
                        return
                    self._put((when, picture))
        except BaseException as error:
            # It belongs to whoever takes the frames.
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _wait_until(self, start: float, when: float | None) -> None:
        if when is None:
            raise ValueError("does not say when its frames are shown; give --fps with --realtime")
        self._stopping.wait(max(0.0, start + when - time.monotonic()))

    def _put(self, frame: Timed) -> None:
        with self._changed:
            if self._stopping.is_set():
                return
            if len(self._queue) == _WAITING:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(frame)
            self._changed.notify()


@contextlib.contextmanager
def stopped_by_signals(live: Live) -> Iterator[None]:
    """Ctrl-C, or a polite kill, ends the frames and not the program; a second one ends that.

    Outside of a program's main thread, where signals do not arrive, nothing is changed.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for one, handler in before.items():
            signal.signal(one, handler)
        announce("stopping; the last rows are computed (again: give up)")
        live.stop()

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def warm_up(predictor: "Predictor", detector: Detector) -> None:
    """Reads and compiles what takes long, before the first frame comes.

    Args:
        predictor: that will score the frames.
        detector: that will find the faces.
    """
    announce("compiling, before the first frame is read")
    size = predictor.trained.recipe.size
    for _ in predictor.rows(np.zeros((2, size, size, 3), np.uint8), aligned=True):
        pass
    detector.detect([np.zeros((480, 640, 3), np.uint8)])
