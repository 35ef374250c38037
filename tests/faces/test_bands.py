"""What the three regions of the paper show of a face in the canonical crop."""

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES
from mdhr_jax.faces import alignment

POINTS = ("eye_left_centre", "eye_right_centre", "nose_tip", "mouth_left", "mouth_right")
PARTS = {
    "upper": ("brow_", "eye_"),
    "middle": ("nose_tip", "nose_left", "nose_right"),
    "lower": ("mouth_", "lip_", "chin"),
}


@pytest.fixture(scope="module")
def faces():
    """Landmarks of several people, (people, landmarks, 2), each moved and turned, brought to the crop."""
    spec = generator.SyntheticSpec(preset="easy", subjects=6, videos_per_subject=1, frames_per_video=2)
    turn = 0.2
    moved = 1.7 * np.asarray([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    found = []
    for video in spec.videos():
        landmarks = generator.render_video(spec, video).landmarks[0] @ moved + (300.0, 90.0)
        five = landmarks[[LANDMARK_NAMES.index(name) for name in POINTS]]
        found.append(alignment.transform(alignment.similarity(five, 256), landmarks))
    return np.stack(found)


@pytest.mark.parametrize("band", PARTS)
def test_the_bands_hold_brows_and_eyes_nose_and_mouth_and_chin(faces, band):
    rows = facs.band_rows(band, 7)
    assert (rows.start, rows.stop - 1) == {"upper": (0, 2), "middle": (2, 4), "lower": (4, 6)}[band]
    chosen = [i for i, name in enumerate(LANDMARK_NAMES) if name.startswith(PARTS[band])]
    assert len(chosen) >= 3
    heights = faces[:, chosen, 1] * 7 / 256
    assert heights.min() > rows.start
    assert heights.max() < rows.stop


def test_cheeks_are_in_the_middle_band(faces):
    # Half way from the lower lid to the corner of the mouth, below the eye.
    lid, mouth = (faces[:, LANDMARK_NAMES.index(name)] for name in ("eye_left_lower", "mouth_left"))
    heights = (lid + mouth)[:, 1] / 2 * 7 / 256
    rows = facs.band_rows("middle", 7)
    assert heights.min() > rows.start
    assert heights.max() < rows.stop


def test_the_eyes_of_the_template_are_in_the_upper_band():
    assert 2 / 7 < alignment.EYE_HEIGHT < 3 / 7
