"""What frames around a frame tell, on faces whose answer is known."""

import dataclasses

import numpy as np
import pytest

from mdhr_jax.data.synthetic import generator, time_gain
from mdhr_jax.data.synthetic.time_gain import DYNAMICS, NEUTRAL, STILL, Faces


def _faces(offset: float, subjects: int = 36, frames: int = 48) -> Faces:
    """One landmark's height: each subject's own, plus what an AU adds while it is there."""
    rng = np.random.default_rng(0)
    # Blocks of eight frames, so that a change lies within eight frames of every frame.
    blocks = rng.permuted(np.tile([0, 1], (subjects, frames // 16)), axis=1)
    labels = np.repeat(blocks, 8, axis=1)[:, :frames, None].astype(np.int64)
    height = offset * rng.standard_normal((subjects, 1, 1)) + labels
    shapes = np.concatenate([height, rng.standard_normal(height.shape)], -1)
    shapes += 0.05 * rng.standard_normal(shapes.shape)
    return Faces(shapes, labels, labels.astype(float))


def test_time_helps_where_resting_faces_differ():
    found = {gain.view: gain for gain in time_gain.measure(_faces(2.0))}
    assert found[STILL].gain == 0.0
    assert found[STILL].interval is None
    assert found[STILL].f1[0] < 75.0
    best = found[NEUTRAL]
    assert best.f1[0] > 95.0
    assert best.interval is not None
    assert 0.0 < best.interval[0] <= best.gain <= best.interval[1]
    assert found[DYNAMICS].gain > 3.0
    near, far = (found[f"and frames up to {lag} away"].f1[0] for lag in (2, 8))
    assert far > near


def test_time_does_not_help_where_all_faces_rest_alike():
    for gain in time_gain.measure(_faces(0.0)):
        assert gain.f1[0] > 97.0
        assert abs(gain.gain) < 3.0


def test_the_same_seed_gives_the_same_numbers():
    faces = _faces(2.0, subjects=9)
    assert time_gain.measure(faces, seed=3) == time_gain.measure(faces, seed=3)


def test_place_size_and_tilt_of_a_face_say_nothing():
    rng = np.random.default_rng(1)
    points = rng.standard_normal((1, 2, len(generator.LANDMARK_NAMES), 2))
    cos, sin = np.cos(0.3), np.sin(0.3)
    moved = 1.7 * points @ np.asarray([[cos, sin], [-sin, cos]]) + [0.2, -0.4]
    np.testing.assert_allclose(time_gain._relative(points), time_gain._relative(moved), atol=1e-12)


def test_dynamics_rise_and_fall_apart_and_are_averaged_around_a_frame():
    shapes = np.zeros((1, 12, 1))
    shapes[0, 6:] = 1.0  # The difference named 6 is 1.
    labels = np.zeros((1, 12, 1), np.int64)
    seen = time_gain.views(Faces(shapes, labels, labels.astype(float)))[DYNAMICS].reshape(12, 5, 3)
    rising, falling = seen[:, 2, 1], seen[:, 2, 2]
    # Frame t averages the differences t-1 ... t+2.
    np.testing.assert_array_equal(rising, [0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0, 0, 0])
    assert not falling.any()
    np.testing.assert_array_equal(seen[5, :, 1], rising[3:8])


def test_the_command_draws_faces_and_prints_every_view(capsys, tmp_path):
    arguments = ["--preset", "changing", "--subjects", "6", "--frames", "16", "--workers", "1"]
    report = tmp_path / "gain.md"
    assert time_gain.main([*arguments, "--report", str(report)]) == 0
    printed = capsys.readouterr().out
    spec = generator.SyntheticSpec(preset="changing", subjects=6, videos_per_subject=1, frames_per_video=16)
    for text in (STILL, DYNAMICS, NEUTRAL, *(f"AU{au}" for au in spec.au_set.aus)):
        assert text in printed
        assert text in report.read_text()
    assert "generator " + generator.GENERATOR_VERSION in report.read_text()


def test_noise_is_as_large_as_asked_for():
    spec = generator.SyntheticSpec(subjects=3, videos_per_subject=1, frames_per_video=8, size=64)
    clean, noisy = (time_gain.draw(spec, noise, 1) for noise in (0.0, 0.05))
    assert (noisy.shapes - clean.shapes).std() == pytest.approx(0.05, rel=0.1)
    assert dataclasses.asdict(clean)["labels"].shape == (3, 8, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subjects", "5"], "at least 6"),
        (["--noise", "-1"], "0 or more"),
        (["--noise", "nan"], "0 or more"),
        (["--preset", "hard"], "known: easy"),
        (["--report", "gain.txt"], "gain.txt"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert time_gain.main(arguments) == 2
    assert message in capsys.readouterr().err
