"""Landmarks of a face: their names, and where they lie at rest and in motion, in eye units."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.identity import Identity

_BROWS = tuple(
    (side, name, along)
    for side, word in ((-1.0, "left"), (1.0, "right"))
    for name, along in (
        (f"brow_{word}_outer", 1.0),
        (f"brow_{word}_middle", 0.5),
        (f"brow_{word}_inner", 0.0),
    )
)
_LIPS = ("lip_upper_top", "lip_upper_bottom", "lip_lower_top", "lip_lower_bottom")
_SKIN = (
    *(name for _, name, _ in _BROWS),
    *("nose_root", "nose_tip", "nose_left", "nose_right", "mouth_left", "mouth_right"),
    *_LIPS,
    "chin",
)
_EYES = tuple(
    f"eye_{word}_{part}"
    for word in ("left", "right")
    for part in ("outer", "inner", "upper", "lower", "centre")
)

LANDMARK_NAMES = _SKIN + _EYES
"""Order of the landmarks; left and right are the viewer's."""


def on_skin(face: Identity) -> Float[np.ndarray, "n 2"]:
    """Material points of the neutral face, in the order of the first `LANDMARK_NAMES`."""
    corner_x, corner_y = face.mouth_corner
    line = float(face.mouth_line(np.zeros(1))[0])
    points = [(side * face.brow_point(along)[0], face.brow_point(along)[1]) for side, _, along in _BROWS]
    points += [
        (0.0, 0.0),
        (0.0, face.nose_y - 0.03),
        (-face.nose_width, face.nose_y),
        (face.nose_width, face.nose_y),
        (-corner_x, corner_y),
        (corner_x, corner_y),
        (0.0, line - 0.78 * face.lip_upper),
        (0.0, line),
        (0.0, line),
        (0.0, line + face.lip_lower),
        (0.0, face.chin_y),
    ]
    return np.asarray(points, np.float32)


def assemble(
    face: Identity,
    moved: Float[np.ndarray, "n 2"],
    lids: tuple[float, float],
    lips: tuple[float, float, float, float],
    eyes: Mapping[float, tuple[float, float]],
) -> Float[np.ndarray, "K 2"]:
    """All landmarks of a frame.

    Args:
        face: who.
        moved: `on_skin` after the skin has slid.
        lids: heights of the upper and lower lid relative to the pupil.
        lips: how far the parting of the lips moves each of the four lip landmarks downwards.
        eyes: centre of the eye on each side (-1 the viewer's left, +1 the right).
    """
    skin = moved.copy()
    first = _SKIN.index(_LIPS[0])
    skin[first : first + len(_LIPS), 1] += np.asarray(lips, np.float32)
    depth = 0.2 * (lids[0] + lids[1])
    sockets = []
    for side in (-1.0, 1.0):
        x, y = eyes[side]
        sockets += [
            (x + side * face.eye_half_width, y + depth - face.eye_tilt),
            (x - side * face.eye_half_width, y + depth + face.eye_tilt),
            (x, y + lids[0]),
            (x, y + lids[1]),
            (x, y),
        ]
    return np.concatenate([skin, np.asarray(sockets, np.float32)])
