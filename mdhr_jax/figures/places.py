"""Where on a face each action unit of FACS shows.

Places are those of the muscle's visible effect (Ekman and Friesen, 1978); of an AU that shows on both sides
one is taken, left and right in turn, so that neighbours do not cover each other in a figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mdhr_jax.faces.alignment import EYE_DISTANCE, EYE_HEIGHT

PLACES: Mapping[int, tuple[float, float]] = {
    1: (-0.22, -0.50),  # inner brow raiser
    2: (0.68, -0.46),  # outer brow raiser
    4: (0.10, -0.24),  # brow lowerer
    5: (0.58, -0.14),  # upper lid raiser
    6: (0.70, 0.40),  # cheek raiser
    7: (-0.60, 0.12),  # lid tightener
    9: (0.00, 0.28),  # nose wrinkler
    10: (-0.26, 0.74),  # upper lip raiser
    11: (0.34, 0.60),  # nasolabial deepener
    12: (0.52, 0.88),  # lip corner puller
    13: (-0.62, 0.72),  # sharp lip puller
    14: (-0.62, 1.00),  # dimpler
    15: (0.50, 1.30),  # lip corner depressor
    16: (-0.30, 1.34),  # lower lip depressor
    17: (-0.02, 1.62),  # chin raiser
    18: (0.14, 0.76),  # lip pucker
    20: (0.84, 1.08),  # lip stretcher
    22: (-0.42, 1.20),  # lip funneler
    23: (-0.18, 1.12),  # lip tightener
    24: (0.18, 1.02),  # lip pressor
    25: (-0.12, 1.00),  # lips part
    26: (0.12, 1.40),  # jaw drop
    27: (-0.20, 1.46),  # mouth stretch
    28: (0.14, 1.22),  # lip suck
    43: (0.42, 0.04),  # eyes closed
    45: (-0.42, -0.08),  # blink
}
"""FACS number to (x, y) from the middle between the eyes, in distances of the eyes; y points down."""


def places_in_crop(aus: Sequence[int], crop_recipe: Mapping[str, Any]) -> Float[np.ndarray, "N 2"]:
    """Places of AUs in an aligned face, (x, y) as shares of its side.

    AUs that the table does not have stand below each other at the left edge.

    Args:
        aus: FACS numbers.
        crop_recipe: of the data; where it does not say where eyes are, they are taken to be where the
            project's own alignment puts them.
    """
    height = float(crop_recipe.get("eye_height", EYE_HEIGHT))
    distance = float(crop_recipe.get("eye_distance", EYE_DISTANCE))
    found, homeless = [], 0
    for au in aus:
        if au in PLACES:
            x, y = PLACES[au]
            found.append((0.5 + distance * x, height + distance * y))
        else:
            found.append((0.06, 0.1 + 0.09 * homeless))
            homeless += 1
    return np.clip(np.asarray(found, np.float64).reshape(-1, 2), 0.03, 0.97)
