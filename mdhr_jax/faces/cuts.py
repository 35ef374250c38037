"""Where a recording was cut: what follows has nothing to do with what was before, even where a face is at the
same place."""

import collections

import numpy as np
from jaxtyping import Float32
from PIL import Image

from mdhr_jax.faces.detector import Frame

_EDGE = 24
"""Pixels a side of the small pictures that are compared."""
_LEAST_CHANGE = 0.5
"""Change at a cut, at least; 0 where nothing changes, and about 1.3 between pictures of different things."""
_LEAST_SHARE = 0.5
"""Part of the picture that changes at a cut, at least; somebody who walks out of it changes less."""
_TIMES_USUAL = 4.0
"""A cut changes so many times as much as the frames before it, of a camera that is carried around."""
_USUAL_OF = 12
"""Frames whose median change is usual."""
_LEAST_CONTRAST = 8.0
"""Grey levels; pictures with less are all alike, whatever their noise."""


class CutFinder:
    """Looks for cuts, frame after frame."""

    def __init__(self) -> None:
        self._last: Float32[np.ndarray, "S S 3"] | None = None
        self._changes: collections.deque[float] = collections.deque(maxlen=_USUAL_OF)

    def is_cut(self, frame: Frame) -> bool:
        """Whether a frame is the first of another shot.

        Args:
            frame: RGB, the next one.
        """
        last, self._last = self._last, _small(frame)
        if last is None:
            return False
        change, share = difference(last, self._last)
        usual = float(np.median(self._changes)) if self._changes else 0.0
        if share > _LEAST_SHARE and change > max(_LEAST_CHANGE, _TIMES_USUAL * usual):
            self._changes.clear()
            return True
        self._changes.append(change)
        return False


def difference(a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"]) -> tuple[float, float]:
    """How much two pictures differ, but for what all of a picture changes in brightness.

    Args:
        a, b: small pictures.

    Returns:
        Mean absolute difference as a part of their contrast; and the part of the picture that differs.
    """
    a, b = a - np.median(a, (0, 1)), b - np.median(b, (0, 1))
    contrast = (np.abs(a).mean() + np.abs(b).mean()) / 2
    apart = np.abs(a - b)
    changed = apart.max(-1) > _LEAST_CONTRAST
    return float(apart.mean() / max(contrast, _LEAST_CONTRAST)), float(changed.mean())


def _small(frame: Frame) -> Float32[np.ndarray, "S S 3"]:
    """The frame in few pixels, from a part of them."""
    step = max(1, min(frame.shape[:2]) // (4 * _EDGE))
    picture = Image.fromarray(np.ascontiguousarray(frame[::step, ::step]))
    return np.asarray(picture.resize((_EDGE, _EDGE), Image.Resampling.BOX), np.float32)
