"""The frames of an input of the command, and how they ended: at the end, on request, or before damage."""

import contextlib
import datetime
import os
from collections.abc import Generator, Iterator
from typing import Any

from mdhr_jax.faces import media
from mdhr_jax.predict.sources import inputs
from mdhr_jax.predict.sources.camera import Camera
from mdhr_jax.predict.sources.live import Live, Timed, stopped_by_signals

EARLY = "ended_early"
"""Key of a table's JSON file: why the recording has more frames than the table, null where it has not."""


class Source:
    """An input that is read once.

    Damage behind the first frame ends the frames; those before it are as good as they would be without.

    Args:
        recording: of which.
        realtime: whether frames that come too fast are left out; those of cameras are.
        seconds: after which the frames end; None: with the recording.
        fps: frames a second of pictures, where that is known.

    Attributes:
        ended_early: what is wrong with the recording behind the last frame; None where nothing is.
    """

    def __init__(
        self, recording: media.Recording, *, realtime: bool, seconds: float | None, fps: float | None
    ):
        self.ended_early: str | None = None
        self._recording, self._seconds, self._fps = recording, seconds, fps
        self._is_camera = isinstance(recording, Camera)
        self._started = datetime.datetime.now(datetime.UTC)
        live = realtime or self._is_camera
        self._live = Live(self._timed(), paced=not self._is_camera) if live else None

    @property
    def is_live(self) -> bool:
        """Whether frames that come too fast are left out."""
        return self._live is not None

    def work(self) -> dict[str, Any]:
        """What decides which frames there are, as JSON; of a camera it is never the same again.

        Raises:
            OSError: a file is gone.
        """
        camera = {
            "camera": self._recording.name,
            "started": self._started.isoformat(),
            "process": os.getpid(),
        }
        found: dict[str, Any] = {"input": camera if self._is_camera else inputs.fingerprint(self._recording)}
        if self._seconds is not None:
            found["seconds"] = self._seconds
        if self.is_live:
            found["realtime"] = True
        return found

    def facts(self) -> dict[str, Any]:
        """How the frames ended, as JSON, when they have."""
        dropped = {} if self._live is None else {"frames_dropped": self._live.dropped}
        return {EARLY: self.ended_early} | dropped

    @property
    def whole(self) -> bool:
        """Whether the frames are all that the recording has, when they have ended."""
        return self.ended_early is None and self._seconds is None and not self.is_live

    @property
    def dropped(self) -> int:
        """Frames that were left out."""
        return 0 if self._live is None else self._live.dropped

    def frames(self) -> Iterator[Timed]:
        """Seconds from the first, where they are known, and the frames.

        Raises:
            ValueError: not even one can be read.
            ImportError: PyAV is missing.
        """
        with contextlib.ExitStack() as stack:
            if self._live is not None and self._is_camera:
                stack.enter_context(stopped_by_signals(self._live))
            read = 0
            try:
                for frame in self._timed() if self._live is None else self._live:
                    read += 1
                    yield frame
            except ValueError as error:
                if not read:
                    raise
                self.ended_early = str(error)

    def _timed(self) -> Generator[Timed]:
        for number, (time, frame) in enumerate(self._recording.timed_frames()):
            now = number / self._fps if time is None and self._fps else time
            if self._seconds is not None:
                if now is None:
                    raise ValueError("does not say when its frames are shown; give --fps with --seconds")
                if now >= self._seconds:
                    return
            yield now, frame
