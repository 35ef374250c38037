"""How steady an alignment is, and how far two alignments of a video are apart, in pixels of the crop."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdhr_jax.faces.aligner import AlignedFrame
from mdhr_jax.faces.alignment import Matrix, inverse, similarity, transform
from mdhr_jax.faces.recipe import AlignmentRecipe

# Eyes and corners of the mouth of a typical crop, shares of its side.
_PLACES = np.asarray([(0.325, 0.29), (0.675, 0.29), (0.39, 0.66), (0.61, 0.66)])


def jitter(frames: Sequence[AlignedFrame], recipe: AlignmentRecipe) -> tuple[float, float]:
    """Unrest of an alignment before and after smoothing, crop pixels; NaN where no three frames follow.

    Of what stands still in the recording where the eyes and the corners of the mouth are, the places in the
    crops of three frames in a row are compared: the root mean square of the second difference
    x(t-1) - 2 x(t) + x(t+1). An even motion of the head does not count, a start or a stop does.

    Args:
        frames: in order.
        recipe: that they were aligned by.
    """
    before, after = [], []
    for triple in zip(frames, frames[1:], frames[2:], strict=False):
        if len({frame.track for frame in triple}) > 1 or triple[0].track < 0:
            continue
        smoothed = [frame.matrix for frame in triple if frame.matrix is not None]
        raw = [_matrix(frame.raw_points, recipe) for frame in triple if np.isfinite(frame.raw_points).all()]
        if len(raw) == len(smoothed) == 3:
            before.append(_second_difference(raw, recipe.size))
            after.append(_second_difference(smoothed, recipe.size))
    return _root_mean_square(before), _root_mean_square(after)


def deviation(frames: Sequence[AlignedFrame], reference: Sequence[AlignedFrame]) -> Float[np.ndarray, "F 5"]:
    """Distance of each point from that of another alignment, in the other's crop, pixels.

    Frames that lack a crop in one of them are left out.
    """
    rows = [
        np.hypot(*(transform(other.matrix, one.points) - transform(other.matrix, other.points)).T)
        for one, other in zip(frames, reference, strict=True)
        if one.matrix is not None and other.matrix is not None
    ]
    return np.asarray(rows, np.float64).reshape(-1, 5)


def _matrix(points: Float[np.ndarray, "5 2"], recipe: AlignmentRecipe) -> Matrix:
    return similarity(points, recipe.size, eye_height=recipe.eye_height, eye_distance=recipe.eye_distance)


def _second_difference(matrices: Sequence[Matrix], size: int) -> Float[np.ndarray, "4 2"]:
    fixed = transform(inverse(matrices[1]), _PLACES * size)
    earlier, now, later = (transform(matrix, fixed) for matrix in matrices)
    return earlier - 2 * now + later


def _root_mean_square(differences: Sequence[Float[np.ndarray, "4 2"]]) -> float:
    if not differences:
        return float("nan")
    return float(np.sqrt((np.asarray(differences) ** 2).sum(-1).mean()))
