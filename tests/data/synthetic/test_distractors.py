"""What moves in realistic videos without being labelled."""

import dataclasses

import numpy as np
import pytest

from mdhr_jax.data.synthetic import distractors, generator
from mdhr_jax.data.synthetic.generator import LANDMARK_NAMES, SyntheticSpec
from mdhr_jax.data.synthetic.render import EYE_DISTANCE
from mdhr_jax.faces.smoothing import Smoothing, smooth_run

CONFIG = generator.get_preset("realistic").distractors


def _many(config: distractors.DistractorConfig, frames: int = 400, count: int = 40):
    return [distractors.drift(config, frames, 25.0, np.random.default_rng(i)) for i in range(count)]


def test_easy_has_none_of_them():
    drift = distractors.drift(distractors.DistractorConfig(), 50, 25.0, np.random.default_rng(0))
    assert not drift.speech.any()
    assert not drift.wall.any()


def test_speech_is_rhythmic_modest_and_takes_its_share_of_time():
    speech = np.stack([drift.speech for drift in _many(CONFIG)])
    specs = [generator.SyntheticSpec(like=like, preset="realistic") for like in generator.LIKES]
    threshold = min(generator.thresholds(spec).min() for spec in specs)
    assert speech.min() >= 0.0
    assert 0.15 < speech.max() <= CONFIG.speech < threshold
    talking = speech.max(-1) > 0.02
    assert 0.5 * CONFIG.speech_share < talking.mean() < 1.5 * CONFIG.speech_share
    # Most of the movement lies between two and eight syllables a second.
    jaw = speech[..., 0] - speech[..., 0].mean(1, keepdims=True)
    power = (np.abs(np.fft.rfft(jaw, axis=1)) ** 2).mean(0)
    rate = np.fft.rfftfreq(jaw.shape[1], 1 / 25.0)
    fast = rate > 1.0
    assert power[(rate > 2.0) & (rate < 8.0)].sum() > 0.6 * power[fast].sum()


def test_the_crop_is_redone_every_frame_and_takes_the_wall_along():
    unsmoothed = dataclasses.replace(CONFIG, crop_window=1, wall=0.0)
    wandering = _many(dataclasses.replace(unsmoothed, crop_jitter=0.0, crop_turn=0.0, crop_zoom=0.0))
    jittered = _many(unsmoothed)
    plain = np.concatenate([np.diff(drift.shift, axis=0) for drift in wandering])
    jumps = np.concatenate([np.diff(drift.shift, axis=0) for drift in jittered])
    assert plain.std() < 0.2 * jumps.std()
    assert jumps.std() == pytest.approx(np.sqrt(2.0) * CONFIG.crop_jitter, rel=0.1)
    for drift in jittered[:3]:
        np.testing.assert_allclose(np.diff(drift.wall, axis=0), np.diff(drift.shift, axis=0), atol=0.005)


def _jitter(drift: distractors.Drift, size: int) -> float:
    """As `mdhr_jax.faces.measure.jitter`: second differences of eyes and corners of the mouth, pixels."""
    points = np.asarray([[-0.5, 0.0], [0.5, 0.0], [-0.4, 1.1], [0.4, 1.1]])
    roll = np.deg2rad(drift.head_pose[:, 2].astype(float))
    turn = np.stack([np.cos(roll), -np.sin(roll), np.sin(roll), np.cos(roll)], -1).reshape(-1, 2, 2)
    placed = np.einsum("fij,kj->fki", turn, points) * drift.zoom[:, None, None] + drift.shift[:, None]
    placed *= EYE_DISTANCE * size
    second = placed[:-2] - 2.0 * placed[1:-1] + placed[2:]
    return float(np.sqrt((second**2).sum(-1).mean()))


def test_crops_jitter_as_the_face_step_leaves_them():
    # docs/faces.md: 0.20 pixels on a real video after its smoothing, of MTCNN's own points 2.3 before it.
    smoothed = np.mean([_jitter(drift, 256) for drift in _many(CONFIG)])
    assert smoothed == pytest.approx(0.21, abs=0.05)
    raw = np.mean([_jitter(drift, 256) for drift in _many(dataclasses.replace(CONFIG, crop_window=1))])
    assert raw == pytest.approx(2.3, abs=0.8)


def test_errors_of_the_crop_are_averaged_with_the_weights_of_the_face_step():
    window = CONFIG.crop_window
    assert window == Smoothing().window
    impulse = np.eye(2 * window + 1)[window][:, None, None] * np.ones((5, 2))
    weights = smooth_run(impulse, Smoothing("mean"))[:, 0, 0]
    still = dataclasses.replace(CONFIG, roll=0.0, shift=0.0, zoom=0.0, wall=0.0)
    shift = distractors.drift(still, 4000, 25.0, np.random.default_rng(0)).shift[:, 0].astype(float)
    lags = np.asarray([np.mean(shift[: len(shift) - lag] * shift[lag:]) for lag in range(window)])
    expected = np.correlate(weights, weights, "full")[2 * window : 3 * window]
    np.testing.assert_allclose(lags / lags[0], expected / expected[0], atol=0.08)


def test_lips_move_in_speech_while_nothing_is_labelled():
    spec = SyntheticSpec(preset="realistic", subjects=3, videos_per_subject=1, size=96)
    renderer = generator.neutral_renderer(spec, spec.videos()[0])
    full = distractors.still(2)
    drift = dataclasses.replace(full, speech=np.asarray([[0, 0], [CONFIG.speech] * 2], np.float32))
    names = ("lip_upper_bottom", "lip_lower_top")
    upper, lower = (LANDMARK_NAMES.index(name) for name in names)
    silent, speaking = (renderer.frame({}, drift, i)[1] / (0.35 * 96) for i in (0, 1))
    gap = (speaking - silent)[lower, 1] - (speaking - silent)[upper, 1]
    parted = renderer.frame({25: 1.0}, full, 0)[1] / (0.35 * 96)
    assert 0.02 < gap < 0.5 * (parted - silent)[lower, 1] + 0.02
    brows = [LANDMARK_NAMES.index(f"brow_{side}_inner") for side in ("left", "right")]
    np.testing.assert_allclose(silent[brows], speaking[brows], atol=1e-4)


def test_videos_differ_in_brightness_noise_and_compression():
    levels = [float(drift.exposure.mean()) for drift in _many(CONFIG, 50)]
    assert 0.06 < np.std(np.log(levels)) < 0.25
    flat = np.full((64, 64, 3), 128.0, np.float32)
    noises, qualities = [], []
    for seed in range(30):
        sensor = distractors.make_sensor(CONFIG, 64, np.random.default_rng(seed))
        qualities.append(sensor._jpeg)
        noises.append(sensor.read(flat.copy()).astype(float).std())
    assert max(noises) > 1.5 * min(noises)
    assert CONFIG.jpeg is not None
    assert CONFIG.jpeg[0] <= min(qualities) < max(qualities) <= CONFIG.jpeg[1]


def test_compression_loses_detail_and_nothing_else():
    picture = np.random.default_rng(0).uniform(60, 200, (64, 64, 3)).astype(np.float32)
    raw = distractors.Sensor(64, 0.0, np.random.default_rng(1)).read(picture.copy())
    coarse = distractors.Sensor(64, 0.0, np.random.default_rng(1), jpeg=60).read(picture.copy())
    assert coarse.shape == raw.shape
    assert coarse.dtype == np.uint8
    assert not np.array_equal(coarse, raw)
    assert coarse.mean() == pytest.approx(raw.mean(), abs=2.0)
