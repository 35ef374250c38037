"""A decoded picture of a video as players show it: turned upright, its pixels square."""

import fractions
from typing import Any

import numpy as np
from jaxtyping import UInt8

MOST_STRETCH = 4
"""Pixels that are said to be longer than this in either direction are not believed."""


class Picture:
    """One picture of a video.

    Phones store what they see in portrait format lying on its side, and the turn in the file. Camcorders and
    DVDs store pixels that are not square, and their shape in the file; whichever side is the shorter for it
    is enlarged, so that nothing is lost.

    Args:
        frame: an ``av.VideoFrame``; its rotation, in degrees counter-clockwise, is taken to the nearest
            quarter turn.
        aspect: width of a pixel by its height; None where the file does not say.

    Attributes:
        width, height: of the picture as it is shown, pixels.
        time: when it is shown, seconds; None where the file does not say.
        pts: the same in units of `time_base`.
        time_base: seconds; None where the file does not say.
    """

    def __init__(self, frame: Any, aspect: fractions.Fraction | None = None):
        self._frame = frame
        self._turns = round(frame.rotation / 90) % 4
        shape = fractions.Fraction(aspect or 1)
        if not fractions.Fraction(1, MOST_STRETCH) <= shape <= MOST_STRETCH:
            shape = fractions.Fraction(1)
        lying = round(frame.width * max(shape, 1)), round(frame.height / min(shape, 1))
        self._stretched = lying != (frame.width, frame.height)
        self.width, self.height = lying[::-1] if self._turns % 2 else lying
        self.time: float | None = frame.time
        self.pts: int | None = frame.pts
        self.time_base: fractions.Fraction | None = frame.time_base

    def whole(self) -> UInt8[np.ndarray, "H W 3"]:
        """RGB in full size."""
        if self._stretched:
            return self.resized(self.width, self.height)
        return self._turned(self._frame.to_ndarray(format="rgb24"))

    def resized(self, width: int, height: int) -> UInt8[np.ndarray, "H W 3"]:
        """RGB of another size.

        Args:
            width, height: pixels.
        """
        lying = (height, width) if self._turns % 2 else (width, height)
        other = self._frame.reformat(
            width=lying[0],
            height=lying[1],
            format="rgb24",
            interpolation="AREA" if width < self.width else "BICUBIC",
        )
        return self._turned(other.to_ndarray(format="rgb24"))

    def _turned(self, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        return np.ascontiguousarray(np.rot90(pixels, self._turns)) if self._turns else pixels
