"""Intensities rise in 4 to 10 frames, fall more slowly, and say by themselves what is present."""

import numpy as np
import pytest
from scipy import ndimage

from mdhr_jax.data.synthetic import episodes, generator
from mdhr_jax.data.synthetic.episodes import EpisodeConfig

STILL = EpisodeConfig(jitter=0.0, swell=0.0)
THRESHOLD = np.asarray([0.35], np.float32)


def _course(activity, seed=0, config=STILL):
    rng = np.random.default_rng(seed)
    return episodes.intensities(np.asarray(activity, float)[:, None], (3,), THRESHOLD, config, rng)[:, 0]


def _bump(height, frames=120, start=40, length=40):
    activity = np.full(frames, -3.0)
    activity[start : start + length] = height
    return activity


@pytest.mark.parametrize("seed", range(8))
def test_a_presence_rises_quickly_and_falls_more_slowly(seed):
    track = _course(_bump(2.0), seed)
    np.testing.assert_array_equal(np.flatnonzero(track > THRESHOLD), np.arange(40, 80))
    rising, falling = (np.flatnonzero(np.sign(np.diff(track)) == sign) for sign in (1, -1))
    assert 4 <= len(rising) <= 11
    assert len(falling) > len(rising)
    assert track[0] == 0.0
    assert 0.6 < track.max() <= 1.0


def test_what_is_present_at_the_ends_of_a_video_is_in_full_swing_there():
    track = _course(_bump(2.0, frames=40, start=0))
    assert np.ptp(track) < 1e-6


def test_activity_near_the_threshold_shows_and_is_labelled_absent():
    for seed in range(8):
        track = _course(_bump(-0.1), seed, EpisodeConfig())
        assert 0.3 * THRESHOLD[0] < track.max() < THRESHOLD[0]
    assert _course(_bump(-1.0)).max() == 0.0


def test_a_plateau_wavers_above_the_threshold():
    plateau = _course(_bump(0.05), 3, EpisodeConfig())[45:75]
    assert np.std(plateau) > 0.0
    assert plateau.min() > THRESHOLD[0]


def test_weaker_activity_gives_weaker_presences():
    weak, strong = (np.mean([_course(_bump(h), seed).max() for seed in range(20)]) for h in (0.1, 1.5))
    assert THRESHOLD[0] < weak < strong - 0.2


@pytest.mark.parametrize("preset", ["realistic", "changing"])
@pytest.mark.parametrize("like", generator.LIKES)
def test_labels_are_where_intensities_exceed_the_thresholds(like, preset):
    spec = generator.SyntheticSpec(like=like, preset=preset, frames_per_video=450, subjects=6)
    thresholds = generator.thresholds(spec)
    assert len(set(thresholds.tolist())) > 4
    courses = [generator.time_courses(spec, video) for video in spec.videos()]
    tracks, labels = (np.stack([course[i] for course in courses]) for i in range(2))
    assert tracks.dtype == thresholds.dtype == np.float32
    np.testing.assert_array_equal(labels, tracks > thresholds)
    assert tracks.min() == 0.0
    assert tracks.max() <= 1.0
    shows = (tracks > 0.3 * thresholds) & (labels == 0)
    assert 0.03 < shows.mean() < 0.3
    # Also far from any presence, not only on the ramps of one.
    near = ndimage.binary_dilation(labels, np.ones((1, 31, 1)))
    assert (shows & ~near).any(axis=1).sum() >= 10
    # From rest to nine tenths of the way no rise is shorter than an onset.
    assert np.abs(np.diff(tracks, axis=1)).max() < 0.45
