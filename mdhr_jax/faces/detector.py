"""What a face detector is, and what it says of a face.

Coordinates are pixels of the frame that was given, x to the right and y down; the pixel (0, 0) has its
centre at (0.5, 0.5), so that a frame spans from 0 to its width and height whatever its resolution.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""The five points, left being the viewer's."""

LEFT_EYE, RIGHT_EYE, NOSE, MOUTH_LEFT, MOUTH_RIGHT = range(5)

Frame = UInt8[np.ndarray, "H W 3"]
"""An RGB picture."""


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in a frame.

    Attributes:
        box: x0, y0, x1, y1 in pixels.
        points: places of `POINTS` in pixels.
        confidence: from 0 to 1.
    """

    box: Float32[np.ndarray, "4"]
    points: Float32[np.ndarray, "5 2"]
    confidence: float

    @property
    def centre(self) -> Float32[np.ndarray, "2"]:
        """Centre of the box, pixels."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def side(self) -> float:
        """Side of a square of the box's area, pixels."""
        width, height = np.maximum(self.box[2:] - self.box[:2], 0.0).tolist()
        return float((width * height) ** 0.5)


@runtime_checkable
class Detector(Protocol):
    """Finds the faces of frames.

    Attributes:
        name: of the method, stored in alignment recipes.
        version: of its weights or format.
    """

    name: str
    version: str

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces of each frame, the surest first; frames of a video are given in order."""
        ...


@runtime_checkable
class Follower(Protocol):
    """A detector that finds known faces again in the next frame, for less than a search costs."""

    def follow(self, frame: Frame, faces: Sequence[Face]) -> list[Face | None]:
        """The same faces in a later frame; None for each that is not found near its old place."""
        ...
