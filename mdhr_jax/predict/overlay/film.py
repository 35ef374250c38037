"""Writes pictures as a video file, each to be shown when it is said to be, one in memory at a time."""

import contextlib
import fractions
import functools
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mdhr_jax.faces import video_file
from mdhr_jax.progress import announce

CODECS = ("libx264", "mpeg4")
"""The first that this FFmpeg has is taken."""

_OPTIONS = {
    # Without frames that refer to later ones times stay those that were given.
    "libx264": {"preset": "veryfast", "crf": "22", "bf": "0"},
    "mpeg4": {"qscale": "4", "bf": "0"},
}
_FINEST = {"libx264": 1_000_000, "mpeg4": 65_535}
_BT709 = 1


@functools.cache
def codec() -> str:
    """The name of the codec to write with.

    Raises:
        ImportError: PyAV is missing, or has none of `CODECS`.
    """
    av = video_file.require_av()
    for name in CODECS:
        try:
            av.codec.Codec(name, "w")
        except ValueError:
            continue
        if name != CODECS[0]:
            announce(f"this PyAV has no {CODECS[0]}; videos are written as {name}")
        return name
    raise ImportError(f"this PyAV writes none of {', '.join(CODECS)}: pip install --force-reinstall av")


class Film:
    """A video being written.

    Args:
        path: of the file, MP4 whatever its name.
        width, height: of the pictures, even, pixels.
        rate: frames a second, about; what counts are the times.
        time_base: seconds, the unit of the times.

    Raises:
        ImportError: PyAV is missing or cannot write videos.
        OSError: on entry, if the file cannot be written.
    """

    def __init__(
        self, path: Path, width: int, height: int, rate: fractions.Fraction, time_base: fractions.Fraction
    ):
        self._path, self._size, self._rate = path, (width, height), rate
        self._codec = codec()
        finest = _FINEST[self._codec]
        self._given_base = time_base
        self._base = time_base if time_base.denominator <= finest else fractions.Fraction(1, 60_000)
        self._last = -1

    def __enter__(self) -> "Film":
        av = video_file.require_av()
        try:
            self._container: Any = av.open(str(self._path), "w", format="mp4")
        except av.error.FFmpegError as error:
            raise self._failed(error) from error
        self._stream: Any = self._container.add_stream(
            self._codec, rate=self._rate, options=_OPTIONS[self._codec]
        )
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        self._stream.time_base = context.time_base = self._base
        # Players guess otherwise, and not all the same.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        return self

    def write(self, picture: UInt8[np.ndarray, "H W 3"], time: int, duration: int) -> None:
        """Adds a picture.

        Args:
            picture: RGB, of the film's size.
            time: when it is shown; after the one before, or else as soon after as can be told.
            duration: for how long.

        Raises:
            OSError: the file cannot be written.
        """
        av = video_file.require_av()
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        share = self._given_base / self._base
        self._last = max(self._last + 1, round(time * share))
        frame.pts, frame.time_base = self._last, self._base
        frame.duration = max(1, round(duration * share))
        try:
            self._container.mux(self._stream.encode(frame))
        except av.error.FFmpegError as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OSError:
        return OSError(f"{self._path} cannot be written: {getattr(error, 'strerror', None) or error}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failures = video_file.require_av().error.FFmpegError
        if error is not None:
            # What went wrong first is what is told.
            with contextlib.suppress(failures):
                self._container.close()
            return
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
        except failures as failure:
            raise self._failed(failure) from failure
