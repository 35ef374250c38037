"""Time courses rise quickly, fall more slowly, and cross the threshold where presence begins and ends."""

import numpy as np
import pytest

from mdhr_jax.data.synthetic import distractors, timeline
from mdhr_jax.data.synthetic.timeline import Event, TimelineConfig


@pytest.mark.parametrize("length", [7, 12, 30])
@pytest.mark.parametrize("height", [0.75, 1.0])
def test_an_event_is_present_for_its_length(length, height):
    event = Event(start=40, length=length, height=height, onset=7, offset=12)
    track = timeline.curve(event, np.arange(120.0), 0.35)
    np.testing.assert_array_equal(np.flatnonzero(track > 0.35), np.arange(40, 40 + length))
    assert track.max() > 0.9 * height
    rising, falling = (np.flatnonzero(np.sign(np.diff(track)) == sign) for sign in (1, -1))
    assert 3 <= len(rising) <= 11
    assert len(falling) >= len(rising)


def test_rates_follow_the_wanted_ones_whoever_leads():
    config = TimelineConfig(subject_spread=0.0, follows={(1, 2): 0.45})
    wanted = {1: 0.3, 2: 0.25, 4: 0.5}
    rng = np.random.default_rng(3)
    tracks = [
        timeline.intensities((1, 2, 4), wanted, 200, config, np.random.default_rng(i), rng)
        for i in range(150)
    ]
    present = np.stack(tracks) > config.threshold
    np.testing.assert_allclose(present.mean((0, 1)), list(wanted.values()), atol=0.05)
    together = (present[..., 0] & present[..., 1]).mean() / present[..., 0].mean()
    assert together > 0.25 + 0.12
    # The first frame is as likely to be active as any other.
    np.testing.assert_allclose(present[:, :3].mean((0, 1)), present.mean((0, 1)), atol=0.12)


def test_subjects_differ_in_how_often_they_act():
    config = TimelineConfig(subject_spread=1.0)
    rates = [
        timeline.intensities(
            (12,), {12: 0.4}, 3000, config, np.random.default_rng(i), np.random.default_rng(99)
        )
        for i in range(6)
    ]
    assert np.std([(track > config.threshold).mean() for track in rates]) > 0.08


def test_the_sensor_adds_noise_of_the_wanted_size_anew_for_every_frame():
    sensor = distractors.Sensor(64, 3.0, np.random.default_rng(0))
    first, second = (sensor.read(np.full((64, 64, 3), 128.0, np.float32)).astype(float) for _ in range(2))
    assert first.std() == pytest.approx(3.0, rel=0.05)
    assert first.mean() == pytest.approx(128.0, abs=0.2)
    assert (first - second).std() > 3.5
    quiet = distractors.Sensor(64, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(quiet.read(np.full((64, 64, 3), 99.6, np.float32)), 100)


def test_drift_is_slow_and_mild():
    config = distractors.DistractorConfig()
    many = [distractors.drift(config, 200, 25.0, np.random.default_rng(i)) for i in range(60)]
    pose = np.stack([drift.head_pose for drift in many])
    np.testing.assert_allclose(pose.std((0, 1)), (config.yaw, config.pitch, config.roll), rtol=0.2)
    assert np.abs(np.diff(pose, axis=1)).max() < 2.0
    blinks = np.stack([drift.blink for drift in many])
    assert 0 < (blinks > 0.5).mean() < 0.1
    assert blinks.max() == 1.0
