"""Each AU moves what FACS says, and little else."""

import itertools

import numpy as np
import pytest

from mdhr_jax.data.synthetic import actions, apexes, distractors, effects, generator
from mdhr_jax.data.synthetic.generator import LANDMARK_NAMES, SyntheticSpec

SIZE = 128
OWN = effects.REGIONS


def _spec(au: int) -> SyntheticSpec:
    like = "disfa" if au in (9, 25, 26) else "bp4d"
    return SyntheticSpec(like=like, size=SIZE, subjects=6, videos_per_subject=1)


def _pictures(au: int, subject: int) -> tuple[np.ndarray, np.ndarray]:
    spec = _spec(au)
    video = spec.videos()[subject]
    rest = generator.apex_picture(spec, video, {}).astype(np.float64)
    return rest, generator.apex_picture(spec, video, {au: 1.0}).astype(np.float64)


def _landmarks(au: int, subject: int, state: dict[int, float]) -> dict[str, np.ndarray]:
    spec = _spec(au)
    renderer = generator._renderer(generator._draw_key(spec), spec.videos()[subject])
    _, points = renderer.frame(state, distractors.still(1), 0)
    return dict(zip(LANDMARK_NAMES, points / (0.35 * SIZE), strict=True))


def test_every_au_of_the_table_can_be_drawn():
    drawn = {au for like in generator.LIKES for au in SyntheticSpec(like=like).au_set.aus}
    assert drawn == set(apexes.ACTIONS) == set(OWN)


@pytest.mark.parametrize("au", sorted(OWN))
def test_an_au_changes_its_own_region_and_little_else(au):
    noise = generator.get_preset("easy").distractors.noise
    own = effects.region_mask(au, SIZE)
    for subject in (0, 1, 2):
        before, after = _pictures(au, subject)
        change = (after - before).mean(-1)
        inside = np.sqrt(np.mean(change[own] ** 2))
        outside = np.sqrt(np.mean(change[~own] ** 2))
        assert inside > max(3.0, 1.4 * noise), f"AU{au} of subject {subject} hardly shows"
        assert outside < inside / 3, f"AU{au} of subject {subject} changes the rest of the face"


def test_no_two_aus_look_alike():
    for like in generator.LIKES:
        spec = SyntheticSpec(like=like, size=SIZE, subjects=3, videos_per_subject=1)
        video = spec.videos()[1]
        rest = generator.apex_picture(spec, video, {}).astype(np.float64)
        changes = {
            au: (generator.apex_picture(spec, video, {au: 1.0}) - rest).ravel() for au in spec.au_set.aus
        }
        for a, b in itertools.combinations(changes, 2):
            first, second = changes[a], changes[b]
            likeness = first @ second / np.sqrt((first @ first) * (second @ second))
            assert likeness < 0.6, f"AU{a} and AU{b} look alike"


@pytest.mark.parametrize(
    ("au", "landmark", "direction"),
    [
        (1, "brow_right_inner", (0, -0.07)),
        (2, "brow_right_outer", (0, -0.08)),
        (4, "brow_right_inner", (-0.03, 0.05)),
        (6, "eye_right_lower", (0, -0.02)),
        (7, "eye_right_upper", (0, 0.02)),
        (9, "nose_right", (0, -0.06)),
        (10, "lip_upper_top", (0, -0.06)),
        (12, "mouth_right", (0.06, -0.08)),
        (14, "mouth_left", (0.01, 0)),
        (15, "mouth_right", (0, 0.07)),
        (17, "lip_lower_bottom", (0, -0.05)),
        (23, "mouth_right", (-0.05, 0)),
        (24, "lip_lower_bottom", (0, -0.03)),
        (25, "lip_lower_top", (0, 0.05)),
        (26, "chin", (0, 0.15)),
    ],
)
def test_landmarks_move_the_way_facs_says(au, landmark, direction):
    for subject in (0, 3):
        shift = _landmarks(au, subject, {au: 1.0})[landmark] - _landmarks(au, subject, {})[landmark]
        for found, least in zip(shift, direction, strict=True):
            assert found * np.sign(least) >= abs(least)


def test_lips_part_further_with_the_jaw_and_the_smile_narrows_the_eye():
    def gap(state):
        points = _landmarks(26, 0, state)
        return (points["lip_lower_top"] - points["lip_upper_bottom"])[1]

    assert gap({25: 1.0, 26: 1.0}) > gap({25: 1.0}) + gap({26: 1.0}) + 0.1
    assert gap({}) == pytest.approx(0.0, abs=1e-5)

    def lower_lid(state):
        return _landmarks(12, 0, state)["eye_right_lower"][1]

    rest = lower_lid({})
    apart = (rest - lower_lid({6: 1.0})) + (rest - lower_lid({12: 1.0}))
    assert rest - lower_lid({6: 1.0, 12: 1.0}) > apart + 0.005


def test_pressed_lips_do_not_part():
    def gap(state):
        points = _landmarks(10, 1, state)
        return (points["lip_lower_top"] - points["lip_upper_bottom"])[1]

    assert gap({10: 1.0}) > 0.04
    assert gap({10: 1.0, 24: 1.0}) < 0.3 * gap({10: 1.0})
    assert gap({10: 1.0, 23: 1.0}) < 0.7 * gap({10: 1.0})


def test_unknown_aus_are_refused():
    face = generator.subject_face(SyntheticSpec(), 0)
    with pytest.raises(ValueError, match=r"no AU43.*AU1, AU2"):
        actions.action(43, face)
