"""The version of the recipe changes whenever the same choices, or no choices, would give other crops.

Archives and checkpoints are held against the whole recipe, its version included: without a new version, faces
cut out by the code as it was would be mixed with those of today.
"""

import dataclasses

import numpy as np
import pytest
from skimage import data

from mdhr_jax.faces import recipe
from mdhr_jax.faces.aligner import VideoAligner
from mdhr_jax.faces.detector import Face
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.faces.smoothing import METHODS

AGAIN = (
    "the same recipe gives other crops than before: if that is meant, raise mdhr_jax.faces.recipe.VERSION "
    "and write down here what it gives now"
)

# By VERSION: the sum of each frame's matrix. The face is unsteady, so that smoothing and gaps count.
MATRICES = {
    1: {
        "none": [
            *(-489.2364, -497.7094, -506.1824, -500.1984, -500.8162, -501.434, -502.0519),
            *(-496.0678, -495.4323),
        ],
        "mean": [
            *(-495.6368, -498.0404, -500.0839, -501.2312, -500.3823, -499.5334, -498.6844),
            *(-497.7085, -496.8618),
        ],
        "linear": [
            *(-490.2447, -496.6797, -501.0338, -502.7779, -502.3276, -501.8773, -501.427),
            *(-497.7085, -494.8075),
        ],
        "quadratic": [
            *(-490.2447, -499.5077, -504.3842, -502.7779, -502.3276, -501.8773, -501.427),
            *(-496.0678, -494.8075),
        ],
    }
}
PIXELS = {
    1: [
        *(108.814, 157.175, 133.33, 45.691, 132.484, 182.217, 159.635, 83.103, 178.866, 185.767, 158.859),
        *(173.972, 49.433, 183.568, 134.917, 178.931, 4.398, 4.196),
    ]
}
# Other defaults alone.
MATRICES[2], PIXELS[2] = MATRICES[1], PIXELS[1]
# What is meant where nothing is chosen.
DEFAULTS = {
    2: {
        "size": 256,
        "eye_height": 0.29,
        "eye_distance": 0.35,
        "detector": "mtcnn",
        "detector_version": "1.0.0",
        "short_side": 256,
        "detect_every": 5,
        "max_gap": 5,
        "smoothing": "linear",
        "smoothing_window": 7,
        "smoothing_causal": False,
    },
}
DEFAULTS[1] = DEFAULTS[2] | {"smoothing": "mean"}
EYES = np.asarray([(204.5, 100.5), (245.5, 102.5), (226, 127), (210, 144), (243, 146)], np.float32)


def aligned(smoothing):
    """Nine frames of a photograph; the face moves, is lost in two frames, and found again."""
    moved = [EYES + np.asarray([(3 * i) % 7, (5 * i) % 4], np.float32) for i in range(9)]
    faces = [
        [] if i in (4, 5) else [Face(np.asarray([182, 64, 265, 171], np.float32), p, 0.99)]
        for i, p in enumerate(moved)
    ]

    class Known:
        name, version = "known", "1"

        def detect(self, frames):
            return [faces.pop(0) for _ in frames]

    aligner = VideoAligner(AlignmentRecipe(smoothing=smoothing, detect_every=1), Known())
    out = []
    for _ in range(9):
        out += aligner.push(data.astronaut())
    return out + aligner.flush()


@pytest.mark.parametrize("smoothing", METHODS)
def test_the_same_recipe_gives_the_same_place(smoothing):
    found = np.stack([frame.matrix for frame in aligned(smoothing)]).sum((1, 2))
    np.testing.assert_allclose(found, MATRICES[recipe.VERSION][smoothing], atol=1e-3, err_msg=AGAIN)


def test_where_nothing_is_chosen_the_same_is_meant():
    message = "raise mdhr_jax.faces.recipe.VERSION, and write down here what is meant now"
    assert dataclasses.asdict(AlignmentRecipe()) == DEFAULTS[recipe.VERSION], message


def test_the_same_recipe_gives_the_same_pixels():
    crop = aligned("mean")[0].image.astype(np.float64)
    # Means of squares of 64 pixels, and how far neighbouring pixels differ, which tells the filter.
    means = crop.reshape(4, 64, 4, 64, 3).mean((1, 3, 4)).ravel()
    found = [*means, np.abs(np.diff(crop, axis=0)).mean(), np.abs(np.diff(crop, axis=1)).mean()]
    # Versions of Pillow may round otherwise.
    np.testing.assert_allclose(found, PIXELS[recipe.VERSION], atol=0.05, err_msg=AGAIN)
