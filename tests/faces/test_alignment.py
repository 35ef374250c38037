"""Geometry and resampling of the crop."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mdhr_jax.faces import alignment
from tests.faces.scene import face


def _in_crop(points, size=256):
    return alignment.transform(alignment.similarity(points, size), points)


@pytest.mark.parametrize("turn", [-0.7, 0.0, 0.2, 1.3])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.7])
def test_eyes_are_level_at_their_height_and_distance_whatever_the_face(turn, scale):
    crop = _in_crop(face(310.3, 77.8, scale, turn=turn).points)
    np.testing.assert_allclose(crop[0], [(0.5 - 0.175) * 256, 0.29 * 256], atol=1e-3)
    np.testing.assert_allclose(crop[1], [(0.5 + 0.175) * 256, 0.29 * 256], atol=1e-3)
    assert crop[3, 1] > crop[2, 1] > crop[0, 1]


def test_a_known_similarity_is_recovered_and_undone():
    points = face(50, 60, 1.3, turn=0.4).points.astype(np.float64)
    before = alignment.similarity(points, 256)
    cos, sin = 1.7 * np.cos(0.9), 1.7 * np.sin(0.9)
    turn, shift = np.asarray([[cos, -sin], [sin, cos]]), np.asarray([30.0, -11.0])
    after = alignment.similarity(points @ turn.T + shift, 256)
    # The crop of the moved face shows the same: what the move adds, the matrix takes away.
    places = np.random.default_rng(0).uniform(0, 300, (20, 2))
    moved = alignment.transform(after, places @ turn.T + shift)
    np.testing.assert_allclose(moved, alignment.transform(before, places), atol=1e-9)
    back = alignment.transform(alignment.inverse(after), moved)
    np.testing.assert_allclose(back, places @ turn.T + shift, atol=1e-9)


def test_the_mouth_does_not_move_the_crop():
    points = face().points
    smile = points.copy()
    smile[3:] += [(-6, -5), (6, -5)]
    np.testing.assert_array_equal(alignment.similarity(points, 256), alignment.similarity(smile, 256))


@pytest.mark.parametrize("yaw", [-0.5, 0.35, 0.6])
def test_a_turned_head_keeps_its_scale(yaw):
    solid = np.concatenate([face(0, 0).points, [[0], [0], [40 * alignment.NOSE_DEPTH], [0], [0]]], 1)
    turned = np.stack([solid[:, 0] * np.cos(yaw) + solid[:, 2] * np.sin(yaw), solid[:, 1]], 1)
    assert alignment.full_eye_distance(turned) == pytest.approx(40.0, rel=1e-5)


def test_a_face_without_two_eyes_is_refused():
    with pytest.raises(ValueError, match="both eyes"):
        alignment.similarity(np.zeros((5, 2)), 256)


def _smooth(x, y):
    """A picture that is known between its pixels."""
    wave = [np.sin(x / 9.0) * np.cos(y / 11.0), np.sin((x + y) / 14.0), np.cos(x / 17.0 - y / 8.0)]
    return 127.5 + 100.0 * np.stack(wave, -1)


@pytest.mark.parametrize("step", [0.6, 1.0, 1.7, 2.6, 3.9])
def test_a_pattern_is_cut_out_to_a_part_of_a_pixel(step):
    height, width = 1300, 1100
    y, x = np.mgrid[:height, :width] + 0.5
    frame = np.clip(_smooth(x / step, y / step) + 0.5, 0, 255).astype(np.uint8)
    cos, sin = np.cos(0.15) / step, np.sin(0.15) / step
    turn = np.asarray([[cos, sin], [-sin, cos]])
    matrix = np.concatenate([turn, (128 - turn @ [[551.3], [649.1]])], 1)
    crop = alignment.warp(frame, matrix, 256).astype(float)
    v, u = np.mgrid[:256, :256] + 0.5
    places = alignment.transform(alignment.inverse(matrix), np.stack([u, v], -1))
    truth = _smooth(places[..., 0] / step, places[..., 1] / step)
    # The steepest slope is 12 grey levels a pixel: a quarter of a pixel's error would be seen.
    assert np.abs(crop - truth).mean() < 1.0
    slope = np.gradient(truth, axis=(0, 1))
    for axis in (0, 1):
        shift = (slope[axis] * (crop - truth)).sum() / (slope[axis] ** 2).sum()
        assert abs(shift) < 0.03


def test_a_crop_at_whole_pixels_is_the_frame():
    frame = np.random.default_rng(1).integers(0, 256, (90, 80, 3), np.uint8)
    matrix = np.asarray([[1.0, 0, -7], [0, 1.0, -11]])
    np.testing.assert_array_equal(alignment.warp(frame, matrix, 64), frame[11:75, 7:71])


def test_reduction_does_not_alias():
    """Noise as fine as pixels averages out when reduced; picking pixels would keep it."""
    noise = np.random.default_rng(2).normal(128, 40, (1100, 1100, 3))
    frame = np.clip(noise, 0, 255).astype(np.uint8)
    crop = alignment.warp(frame, np.asarray([[0.25, 0.01, 0], [-0.01, 0.25, 5]]), 256)
    assert crop[20:-20, 20:-20].std() < 15
    coarse = gaussian_filter(noise, (8, 8, 0))
    kept = alignment.warp(np.clip((coarse - 128) * 12 + 128, 0, 255).astype(np.uint8), np.eye(2, 3) / 4, 256)
    assert kept[20:-20, 20:-20].std() > 15


def test_edges_go_on_outside_of_the_frame():
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[:, 0], frame[:, -1], frame[0], frame[-1] = 50, 100, 150, 200
    crop = alignment.warp(frame, np.asarray([[1.0, 0, 100], [0, 1.0, 100]]), 256)
    assert (crop[:95, 110:150] == 150).all()
    assert (crop[145:, 110:150] == 200).all()
    assert (crop[105:135, :95] == 50).all()
    assert (crop[105:135, 165:] == 100).all()
