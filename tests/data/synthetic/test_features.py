"""Traces of AUs at rest, beards and glasses: where they are, and that they hide or confuse, not move."""

import dataclasses

import numpy as np
import pytest

from mdhr_jax.data.synthetic import distractors, features, generator
from mdhr_jax.data.synthetic.features import FeatureConfig
from mdhr_jax.data.synthetic.fields import make_grid
from mdhr_jax.data.synthetic.generator import SyntheticSpec
from mdhr_jax.data.synthetic.identity import sample_identity
from mdhr_jax.data.synthetic.portrait import Lamp
from mdhr_jax.data.synthetic.render import Renderer, Style

GRID = make_grid(-1.4, -0.8, 0.05, 57, 57)
ALL = FeatureConfig(resting=0.25, slant=0.02, glasses=1.0, beard=1.0, detail=1.0, clutter=1.0)
STILL = distractors.still(1)


def _faces(count: int = 20, config: FeatureConfig = ALL):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield features.add_features(sample_identity(rng), config, rng)


def _draw(face, size: int = 96):
    return Renderer(face, Lamp(), (4, 25), size, Style(measured=True)).frame({}, STILL, 0)


def test_without_features_a_face_stays_what_it_is():
    face = sample_identity(np.random.default_rng(0))
    assert features.add_features(face, FeatureConfig(), np.random.default_rng(1)) == face


def test_subjects_of_realistic_are_of_many_kinds():
    spec = SyntheticSpec(preset="realistic", subjects=60)
    faces = [generator.subject_face(spec, i) for i in range(60)]
    assert 4 <= sum(face.glasses is not None for face in faces) <= 24
    assert sum(face.beard > 0 for face in faces) >= 4
    assert sum(face.moustache > 0 for face in faces) >= 4
    assert not any(face.beard or face.moustache for face in faces if face.hair_style in ("long", "fringe"))
    brows = np.asarray([[t.shape for t in face.resting if t.au == 4] for face in faces])
    # One subject in ten or more rests with brows as low as somebody else's labelled AU4.
    assert (brows > 0.35).mean() > 0.1
    assert not any(trace.au in (25, 26) for face in faces for trace in face.resting)


def test_one_feature_changes_no_other():
    for plain, worn in zip(_faces(config=dataclasses.replace(ALL, glasses=0.0)), _faces(), strict=True):
        assert plain == dataclasses.replace(worn, glasses=None)


def test_beards_leave_lips_eyes_and_brow_bare():
    covered = 0
    for face in _faces():
        mask = features.beard_mask(face, GRID)
        assert mask.min() >= 0.0
        assert mask.max() <= 1.0
        assert not mask[GRID.y[:, 0] < 0.3][:, np.abs(GRID.x[0]) < 0.8].any()
        line = float(face.mouth_line(np.zeros(1))[0])
        lips = np.abs(GRID.y[:, 0] - line) < 0.04
        assert mask[lips][:, np.abs(GRID.x[0]) < 0.3].max() < 0.05
        covered += bool(mask.max() > 0.5)
        assert bool(mask.max() > 0.4) == bool(face.beard or face.moustache)
    assert covered >= 5


def test_glasses_cover_the_eyes_and_nothing_else_and_turn_with_the_head():
    face = next(_faces())
    assert face.glasses is not None
    worn, points = _draw(face)
    bare, same_points = _draw(dataclasses.replace(face, glasses=None))
    np.testing.assert_array_equal(points, same_points)
    changed = np.abs(worn - bare).max(-1) > 2.0
    rows = (np.flatnonzero(changed.any(1)) + 0.5 - 0.29 * 96) / (0.35 * 96)
    assert rows.min() > -0.4
    assert rows.max() < 0.5
    # The pupils stay visible.
    for name in ("eye_left_centre", "eye_right_centre"):
        x, y = points[generator.LANDMARK_NAMES.index(name)].astype(int)
        assert np.abs(worn[y, x] - bare[y, x]).max() < 60

    def middle(yaw):
        turned = dataclasses.replace(STILL, head_pose=np.asarray([[yaw, 0, 0]], np.float32))
        renderers = [
            Renderer(who, Lamp(), (4,), 96, Style(measured=True))
            for who in (face, dataclasses.replace(face, glasses=None))
        ]
        with_, without = (renderer.frame({}, turned, 0)[0] for renderer in renderers)
        weight = np.abs(with_ - without).sum((0, 2))
        return (weight * np.arange(96)).sum() / weight.sum()

    assert middle(12.0) > middle(-12.0) + 1.0


def test_a_trace_at_rest_looks_like_the_weak_action_of_another():
    face = sample_identity(np.random.default_rng(5), asymmetry=0.0)
    rested = dataclasses.replace(face, resting=(features.Resting(4, 0.5, 0.5),))
    renderer = Renderer(face, Lamp(), (4,), 96, Style(measured=True))
    acting, points = renderer.frame({4: 0.5}, STILL, 0)
    resting, rest_points = _draw(rested)
    neutral, _ = renderer.frame({}, STILL, 0)
    brow = np.s_[8:40, 20:76]
    apart = np.sqrt(np.mean((acting - resting)[brow] ** 2))
    assert apart < 0.25 * np.sqrt(np.mean((acting - neutral)[brow] ** 2))
    skin = generator.LANDMARK_NAMES.index("eye_left_outer")
    np.testing.assert_allclose(points[:skin], rest_points[:skin], atol=0.02)


@pytest.mark.parametrize("preset", ["realistic", "changing"])
def test_presets_draw_what_they_promise(preset):
    spec = SyntheticSpec(preset=preset, subjects=3, videos_per_subject=1, frames_per_video=4, size=96)
    video = generator.render_video(spec, spec.videos()[0])
    again = generator.render_video(spec, spec.videos()[0])
    np.testing.assert_array_equal(video.frames, again.frames)
    assert video.frames.std() > 20
