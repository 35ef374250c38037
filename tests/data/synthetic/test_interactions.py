"""AUs that meet do what FACS says of the combination, not the sum."""

import numpy as np
import pytest

from mdhr_jax.data.synthetic import distractors, generator, interactions
from mdhr_jax.data.synthetic.generator import LANDMARK_NAMES, SyntheticSpec

STILL = distractors.still(1)


def _shape(like: str, subject: int, state: dict[int, float]) -> dict[str, np.ndarray]:
    """Landmarks in eye units; every AU of the AU set can act."""
    spec = SyntheticSpec(like=like, preset="realistic", size=96, subjects=6, videos_per_subject=1)
    renderer = generator.neutral_renderer(spec, spec.videos()[subject])
    return dict(zip(LANDMARK_NAMES, renderer.frame(state, STILL, 0)[1] / (0.35 * 96), strict=True))


def _opening(shape: dict[str, np.ndarray]) -> float:
    return float((shape["eye_right_lower"] - shape["eye_right_upper"])[1])


def _gap(shape: dict[str, np.ndarray]) -> float:
    return float((shape["lip_lower_top"] - shape["lip_upper_bottom"])[1])


@pytest.mark.parametrize("subject", range(4))
def test_cheeks_and_smile_narrow_the_eye_more_than_their_sum(subject):
    rest, cheek, smile, both = (
        _opening(_shape("disfa", subject, state)) for state in ({}, {6: 1.0}, {12: 1.0}, {6: 1.0, 12: 1.0})
    )
    assert rest - both > (rest - cheek) + (rest - smile) + 0.002
    assert both > 0


@pytest.mark.parametrize("subject", range(4))
def test_inner_brows_that_rise_and_lower_together_become_oblique(subject):
    rest, one, four, both = (
        _shape("disfa", subject, state) for state in ({}, {1: 1.0}, {4: 1.0}, {1: 1.0, 4: 1.0})
    )

    def slope(shape):
        return float((shape["brow_right_middle"] - shape["brow_right_inner"])[1])

    def apart(shape):
        return float((shape["brow_right_inner"] - shape["brow_left_inner"])[0])

    # Inner ends up against rest, but less than with 1 alone; drawn together, which 1 alone does not do.
    assert one["brow_right_inner"][1] < both["brow_right_inner"][1] < rest["brow_right_inner"][1]
    assert apart(both) < apart(rest) - 0.05
    assert apart(one) > apart(rest) - 0.01
    # The middle lies low, so that the brow slants.
    assert both["brow_right_middle"][1] > one["brow_right_middle"][1] + 0.02
    assert slope(both) > max(slope(rest), slope(four)) + 0.03
    # More than the sum of the two.
    total = one["brow_right_inner"][1] + four["brow_right_inner"][1] - rest["brow_right_inner"][1]
    assert both["brow_right_inner"][1] < total - 0.01


@pytest.mark.parametrize(("au", "most"), [(23, 0.6), (24, 0.25)])
def test_tight_lips_compete_with_parted_ones(au, most):
    spec = SyntheticSpec(preset="realistic", size=96, subjects=3, videos_per_subject=1)
    face = generator.subject_face(spec, 0)
    renderer = generator.Renderer(
        face, generator.video_lamp(spec, spec.videos()[0]), (23, 24, 25), 96, generator.Style(measured=True)
    )

    def gap(state):
        shape = dict(zip(LANDMARK_NAMES, renderer.frame(state, STILL, 0)[1] / (0.35 * 96), strict=True))
        return _gap(shape)

    parted = gap({25: 1.0})
    assert parted > 0.1
    assert gap({25: 1.0, au: 1.0}) < most * parted
    assert most * parted < gap({25: 1.0, au: 0.3}) < parted


def test_a_jaw_drops_further_when_the_lips_part():
    for subject in range(3):
        rest, jaw, both = (_shape("disfa", subject, state) for state in ({}, {26: 1.0}, {25: 1.0, 26: 1.0}))
        assert (jaw["chin"] - rest["chin"])[1] > 0.25
        assert (both["chin"] - rest["chin"])[1] > (jaw["chin"] - rest["chin"])[1] + 0.1
        assert _gap(jaw) < 0.06
        assert _gap(both) > 0.3


def test_pairs_act_with_the_product_of_their_members():
    units = interactions.with_pairs(interactions.FULL, {1: 0.5, 4: 0.6, 25: 1.0})
    assert units[1, 4] == pytest.approx(0.3)
    assert (25, 26) not in units
    assert interactions.with_pairs(interactions.PLAIN, {1: 1.0, 4: 1.0}) == {1: 1.0, 4: 1.0}
