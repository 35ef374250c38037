"""A cast is balanced: exact moments of what is constant, rates as wanted, every video at its own place."""

import itertools

import numpy as np
import pytest

from mdhr_jax.data.synthetic import cast, label_model, latent, selection
from mdhr_jax.data.synthetic.published import PUBLISHED


def test_smooth_noise_is_stationary_with_the_stated_correlation():
    rng = np.random.default_rng(0)
    clock = np.arange(60)[:, None] + 7.0 * rng.uniform(size=(1, 20_000))
    knots = rng.standard_normal((latent.knot_count(clock, 7.0), 20_000, 1))
    noise = latent.smooth_noise(knots, clock, 7.0)[..., 0]
    np.testing.assert_allclose(noise.mean(1), 0.0, atol=0.03)
    np.testing.assert_allclose(noise.var(1), 1.0, atol=0.05)
    for distance in (1, 5, 14, 30):
        found = np.mean(noise[distance:] * noise[:-distance])
        assert found == pytest.approx(np.exp(-((distance / 14.0) ** 2)), abs=0.02)


def test_the_clock_keeps_its_mean_speed_and_comes_in_bursts():
    clock = latent.bursty_clock(400, 2000, 1.5, 10.0, np.random.default_rng(1))
    speed = np.diff(clock, axis=0)
    assert np.all(clock[0] == 0.0)
    assert speed.min() > 0.0
    assert speed.mean() == pytest.approx(1.0, abs=0.05)
    assert np.median(speed) < 0.5


def test_runs_lose_short_gaps_first_and_then_short_presences():
    present = np.zeros((2, 20), bool)
    present[0, [2, 3, 6, 7]] = True  # an absence of 2 frames
    present[0, [14, 15]] = True
    present[1, 0:3] = True
    present[1, 17:20] = True
    video, start, stop = latent.tidy(present, 3)
    assert list(zip(video, start, stop, strict=True)) == [(0, 2, 8), (1, 0, 3), (1, 17, 20)]
    assert [len(part) for part in latent.tidy(np.zeros((1, 9), bool), 3)] == [0, 0, 0]


def test_balanced_draws_have_exact_moments():
    draws = cast._balanced(np.random.default_rng(2).standard_normal((28, 12)))
    np.testing.assert_allclose(draws.mean(0), 0.0, atol=1e-12)
    np.testing.assert_allclose(draws.T @ draws / 28, np.eye(12), atol=1e-10)
    few = np.random.default_rng(3).standard_normal((3, 12))
    np.testing.assert_allclose(cast._balanced(few).mean(0), 0.0, atol=1e-12)


@pytest.mark.parametrize("frames", [64, 450, 1000])
def test_no_two_videos_share_frames(frames):
    size = cast.size_for("bp4d", frames)
    assert size.frames == max(frames, 450)
    drawn = cast.Cast(size, np.zeros((0, 0, 0), np.float32), 0.7)
    seen = set()
    for subject in (0, 1, size.subjects):
        for video in range(70):
            where = cast.place(size, frames, subject, video)
            first = drawn.first_frame(where, frames)
            assert 0 <= first <= size.frames - frames
            seen.add((where.subjects, where.videos, where.number, first))
            assert where.number // size.videos == subject % size.subjects
    assert len(seen) == 3 * 70
    # Neighbouring excerpts are a whole video apart.
    ordered = sorted(seen)
    for (*here, first), (*there, second) in itertools.pairwise(ordered):
        assert here != there or second - first >= frames


def test_a_cast_meets_its_rates_and_is_a_function_of_its_streams():
    published, size = PUBLISHED["disfa"], cast.CastSize(10, 2, 800)

    def draw(seed):
        streams = np.random.default_rng(seed), np.random.default_rng(5)
        return cast.draw_cast(label_model.MODELS["disfa"], published, size, False, *streams)

    first, again, other = draw(1), draw(1), draw(2)
    assert first.activity.shape == (20, 800, 8)
    assert first.activity.tobytes() == again.activity.tobytes() != other.activity.tobytes()
    for column, rate in enumerate(published.rates):
        _, start, stop = latent.tidy(
            first.activity[..., column] > 0.0, label_model.MODELS["disfa"].shortest[column]
        )
        assert np.sum(stop - start) / first.activity[..., 0].size == pytest.approx(rate, abs=0.01)


def test_selection_brings_a_cast_nearer_to_what_is_published():
    published, model = PUBLISHED["disfa"], label_model.MODELS["disfa"]
    rng = np.random.default_rng(4)
    activity = rng.normal(-1.0, 0.6, (3, 12, 60, 8)).repeat(20, axis=2)
    counts = selection.tally(activity, model.shortest)
    assert counts.lengths.shape == (3, 12, 8, 1201)
    lengths = np.arange(1201)
    flat = activity.reshape(36, 1200, 8)
    for column in range(8):
        _, start, stop = latent.tidy(flat[..., column] > 0.0, model.shortest[column])
        assert (counts.lengths[:, :, column] * lengths).sum() == np.sum(stop - start)
    present = flat > 0.0
    np.testing.assert_array_equal(
        counts.together.reshape(36, 8, 8)[:, 0, 1], (present[..., 0] & present[..., 1]).sum(1)
    )
    chosen = selection.choose(counts, published)
    assert set(chosen) <= {0, 1, 2}

    def distance(choice):
        return selection._sums(counts, choice).distance(12, 1200, published)

    assert distance(chosen) < distance(np.zeros(12, int))
    np.testing.assert_array_equal(chosen, selection.choose(counts, published))
