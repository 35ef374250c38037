"""From five points to the canonical crop: geometry and resampling.

The crop is a similarity of the frame (no shear, no stretch) in which the eyes are on a level line at a given
height, their middle in the middle of the picture. That leaves the scale. It does not come from a fit to all
five points: the mouth moves with the action units that are to be seen (AU12 lifts its corners, AU26 lowers
them), and a crop that grew and shrank with them would hide them and move the rest of the face instead. It
comes from the distance between the eyes, corrected for the turn of the head by the nose: by a yaw of
angle a the distance D of the eyes shrinks to D cos a, and the tip of the nose, which stands out by
`NOSE_DEPTH` D, moves sideways by NOSE_DEPTH D sin a.
"""

import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mdhr_jax.faces.detector import LEFT_EYE, NOSE, RIGHT_EYE

EYE_HEIGHT = 0.29
"""Height of the eyes in the crop, share of its side from the top."""

EYE_DISTANCE = 0.35
"""Distance of the eyes of a face seen from the front, share of the side."""

NOSE_DEPTH = 0.6
"""How far the tip of the nose stands out before the eyes, share of their distance."""

_MARGIN = 4
"""Pixels around what a crop shows that its resampling may read."""

Points = Float[np.ndarray, "5 2"]
Matrix = Float[np.ndarray, "2 3"]
"""Takes (x, y, 1) in a frame to (x, y) in a crop, both in pixels with pixel centres at halves."""


def full_eye_distance(points: Points) -> float:
    """Distance of the eyes as it would be if the head were not turned, pixels.

    Raises:
        ValueError: the eyes coincide.
    """
    eyes = points[RIGHT_EYE] - points[LEFT_EYE]
    distance = float(np.hypot(*eyes))
    if not distance > 0.0:
        raise ValueError(f"both eyes are at {points[LEFT_EYE].tolist()}; a face needs two")
    middle = (points[RIGHT_EYE] + points[LEFT_EYE]) / 2
    sideways = float(np.dot(points[NOSE] - middle, eyes)) / distance
    return math.hypot(distance, sideways / NOSE_DEPTH)


def similarity(
    points: Points, size: int, *, eye_height: float = EYE_HEIGHT, eye_distance: float = EYE_DISTANCE
) -> Matrix:
    """The matrix that takes a face to its place in the crop, float64.

    Args:
        points: of the face, pixels.
        size: side of the crop, pixels.
        eye_height: see `EYE_HEIGHT`.
        eye_distance: see `EYE_DISTANCE`.

    Raises:
        ValueError: the eyes coincide.
    """
    points = np.asarray(points, np.float64)
    scale = eye_distance * size / full_eye_distance(points)
    across, down = points[RIGHT_EYE] - points[LEFT_EYE]
    cos, sin = np.asarray([across, down]) / math.hypot(across, down) * scale
    turn = np.asarray([[cos, sin], [-sin, cos]])
    middle = (points[RIGHT_EYE] + points[LEFT_EYE]) / 2
    shift = np.asarray([0.5 * size, eye_height * size]) - turn @ middle
    return np.concatenate([turn, shift[:, None]], axis=1)


def transform(matrix: Matrix, points: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """Points of a frame in the crop."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: Matrix) -> Matrix:
    """The matrix from the crop to the frame."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.concatenate([turn, -turn @ matrix[:, 2:]], axis=1)


def warp(frame: UInt8[np.ndarray, "H W 3"], matrix: Matrix, size: int) -> UInt8[np.ndarray, "S S 3"]:
    """Cuts a crop out of a frame.

    Where the frame is larger than the crop, the part that is needed is first reduced to the crop's scale by a
    filter as wide as the reduction, then turned and shifted by bicubic interpolation. Outside of the frame
    its edge pixels go on.

    Args:
        frame: RGB.
        matrix: from the frame to the crop.
        size: side of the crop, pixels.
    """
    back = inverse(matrix)
    corners = transform(back, np.asarray([[0, 0], [size, 0], [0, size], [size, size]], np.float64))
    step = math.sqrt(abs(float(np.linalg.det(back[:, :2]))))
    margin = math.ceil(_MARGIN * max(step, 1.0))
    low = np.floor(corners.min(0)).astype(int) - margin
    high = np.ceil(corners.max(0)).astype(int) + margin
    part = Image.fromarray(_cut_out(frame, low, high))
    reduce = np.ones(2)
    if step > 1.0:
        to = (max(1, round(part.width / step)), max(1, round(part.height / step)))
        reduce = np.asarray(to) / (part.width, part.height)
        part = part.resize(to, Image.Resampling.BICUBIC)
    # Pillow asks for the place in the source of each pixel's centre, with centres at halves as here.
    turn, shift = back[:, :2] * reduce[:, None], (back[:, 2] - low) * reduce
    data = (*turn[0], shift[0], *turn[1], shift[1])
    out = part.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    return np.asarray(out)


def _cut_out(
    frame: UInt8[np.ndarray, "H W 3"], low: np.ndarray, high: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels from `low` to `high` (x, y), with repeated edges where the frame ends."""
    height, width = frame.shape[:2]
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return np.ascontiguousarray(frame[top:bottom, left:right])
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    return frame[rows[:, None], columns]
