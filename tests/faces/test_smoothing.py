"""Smoothing over time."""

import numpy as np
import pytest

from mdhr_jax.faces.smoothing import METHODS, Smoothing, smooth_run


def _line(count=30):
    time = np.arange(count, dtype=np.float64)[:, None, None]
    return time * np.arange(1.0, 11.0).reshape(5, 2) + 7.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("causal", [False, True])
def test_a_result_depends_on_the_frames_that_are_stated_and_no_others(method, causal):
    smoothing = Smoothing(method, 7, causal)
    run = np.random.default_rng(0).normal(size=(30, 5, 2))
    before = smoothing.at(run, 15)
    used = []
    for frame in range(30):
        other = run.copy()
        other[frame] += 1.0
        if not np.array_equal(smoothing.at(other, 15), before):
            used.append(frame)
    assert used == list(range(15 - smoothing.reach, 15 + smoothing.look_ahead + 1))
    assert smoothing.look_ahead == (0 if causal or method == "none" else 3)


@pytest.mark.parametrize("method", METHODS)
def test_stillness_stays_and_noise_shrinks(method):
    smoothing = Smoothing(method, 9)
    still = np.full((20, 5, 2), 3.25)
    np.testing.assert_allclose(smooth_run(still, smoothing), still)
    noise = np.random.default_rng(1).normal(size=(500, 5, 2))
    share = smooth_run(noise, smoothing).std() / noise.std()
    assert share == pytest.approx(1.0) if method == "none" else share < 0.75


def test_even_motion_is_kept_in_the_middle_by_all_and_at_the_ends_by_lines():
    for method in METHODS:
        out = smooth_run(_line(), Smoothing(method, 7))
        np.testing.assert_allclose(out[3:-3], _line()[3:-3])
    for method in ("linear", "quadratic"):
        np.testing.assert_allclose(smooth_run(_line(), Smoothing(method, 7)), _line(), atol=1e-9)
        causal = smooth_run(_line(), Smoothing(method, 7, causal=True))
        np.testing.assert_allclose(causal, _line(), atol=1e-9)


def test_none_is_the_identity():
    run = np.random.default_rng(2).normal(size=(5, 5, 2))
    np.testing.assert_array_equal(smooth_run(run, Smoothing("none")), run)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="choose one of none, mean"):
        Smoothing("median")
    with pytest.raises(ValueError, match="odd number of frames, found 4"):
        Smoothing("mean", 4)
