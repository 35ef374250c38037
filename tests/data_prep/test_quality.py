"""The picture of how well faces are aligned: its numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from data_prep import quality
from mdhr_jax.faces.alignment import similarity
from mdhr_jax.faces.recipe import AlignmentRecipe

FACE = np.array([(100, 100), (160, 100), (130, 130), (110, 165), (150, 165)], np.float64)
RECIPE = AlignmentRecipe()


def arrays(points, matrices, numbers):
    count = len(numbers)
    return {
        "videos": np.array(["F001_T1"]),
        "video": np.zeros(count, np.int32),
        "frame_number": np.array(numbers, np.int32),
        "status": np.array(["detected"] * count),
        "track": np.zeros(count, np.int32),
        "confidence": np.ones(count, np.float32),
        "other_faces": np.zeros(count, np.int32),
        "points": points.astype(np.float32),
        "matrices": matrices.astype(np.float32),
    }


def test_unrest_before_and_after_smoothing():
    # Every second frame's face is two pixels to the right; the crop stays.
    points = np.stack([FACE + np.array([2 * (i % 2), 0]) for i in range(9)])
    steady = similarity(FACE + np.array([1, 0]), 256)
    before, after = quality.jitter(arrays(points, np.stack([steady] * 9), range(9)), RECIPE)
    # 1 - 2 + 1 of two pixels, enlarged.
    scale = np.hypot(*steady[0, :2])
    np.testing.assert_allclose(before, [4 * scale], rtol=1e-4)
    np.testing.assert_allclose(after, [0], atol=1e-3)


def test_jumps_of_the_recording_are_not_unrest():
    points = np.stack([FACE, FACE, FACE, FACE + 40, FACE + 40, FACE + 40])
    matrices = np.stack([similarity(p, 256) for p in points])
    found = quality.jitter(arrays(points, matrices, [1, 2, 3, 50, 51, 52]), RECIPE)
    np.testing.assert_allclose(found, 0, atol=1e-3)
    apart = quality.jitter(arrays(points, matrices, [1, 3, 5, 7, 9, 11]), RECIPE)
    assert np.isnan(apart).all()


def test_another_track_is_not_unrest():
    points = np.stack([FACE, FACE, FACE, FACE + 40, FACE + 40, FACE + 40])
    given = arrays(points, np.stack([similarity(p, 256) for p in points]), range(6))
    assert quality.jitter(given, RECIPE)[0] > 5
    given["track"][3:] = 1
    np.testing.assert_allclose(quality.jitter(given, RECIPE), 0, atol=1e-3)


def drawn_jitter(count):
    """The panel of the unrest of one video of so many frames."""
    drawn = Figure()
    axes = drawn.subplots()
    points = np.stack([FACE + np.array([2 * (i % 2), 0]) for i in range(count)])
    quality._draw_jitter(axes, arrays(points, np.stack([similarity(FACE, 256)] * count), range(count)))
    return axes


def test_one_video_has_a_line_of_its_unrest():
    for line in drawn_jitter(9).get_lines()[::2]:
        # Up from 0 at its value.
        assert line.get_ydata()[[0, -1]].tolist() == [0, 1]
    empty = drawn_jitter(2)
    assert not empty.get_lines()
    assert "no three frames in a row" in empty.texts[0].get_text()


def test_legends_cover_nothing_of_the_panels():
    points = np.stack([FACE] * 9)
    given = arrays(points, np.stack([similarity(FACE, 256)] * 9), range(9))
    drawn = quality.draw(given)
    drawn.canvas.draw()
    for axes in drawn.axes:
        if (legend := axes.get_legend()) is not None:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_a_data_set_that_does_not_say(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"alignment\.npz is not there.*--raw do"):
        quality.read(tmp_path)
