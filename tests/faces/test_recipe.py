"""The recipe as it is stored."""

import dataclasses
import json

import pytest

from mdhr_jax.data.synthetic.generator import SyntheticSpec
from mdhr_jax.faces.recipe import AlignmentRecipe

OTHER = AlignmentRecipe(
    size=224,
    detector="precomputed",
    detector_version="1",
    short_side=0,
    detect_every=1,
    max_gap=0,
    smoothing="quadratic",
    smoothing_window=11,
    smoothing_causal=True,
)


@pytest.mark.parametrize("recipe", [AlignmentRecipe(), OTHER])
def test_a_recipe_survives_json(recipe):
    text = json.dumps(recipe.to_json())
    assert AlignmentRecipe.from_json(text) == recipe
    assert AlignmentRecipe.from_json(json.loads(text)) == recipe


def test_every_field_is_stored():
    stored = AlignmentRecipe().to_json()
    for field in dataclasses.fields(AlignmentRecipe):
        assert stored[field.name] == getattr(AlignmentRecipe(), field.name)


def test_it_agrees_with_the_synthetic_sets_where_they_say_something():
    synthetic = SyntheticSpec().crop_recipe()
    assert synthetic.items() <= AlignmentRecipe().to_json().items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe_version": 99}, "recipe_version = 99, this version of mdhr_jax knows only 2"),
        ({"name": "tight"}, "name = 'tight'"),
        ({"eyes_level": False}, "eyes_level = False"),
        ({"blur": 3}, "unknown: blur"),
        ({"size": "256"}, "size = '256', expected int"),
        ({"max_gap": True}, "max_gap = True, expected int"),
        ({"smoothing": "median"}, "smoothing 'median' is unknown"),
        ({"smoothing_window": 6}, "odd number of frames, found 6"),
        ({"eye_height": 1.5}, "eye_height is a share"),
        ({"detect_every": 0}, "detect_every must be at least 1, found 0"),
    ],
)
def test_other_recipes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AlignmentRecipe.from_json(AlignmentRecipe().to_json() | change)


def test_faces_smoothed_by_the_mean_of_version_1_are_not_taken_for_todays():
    old = AlignmentRecipe(smoothing="mean").to_json() | {"recipe_version": 1}
    with pytest.raises(ValueError, match="recipe_version = 1, this version of mdhr_jax knows only 2"):
        AlignmentRecipe.from_json(old)


def test_what_is_no_recipe_is_refused():
    stored = AlignmentRecipe().to_json()
    del stored["max_gap"]
    with pytest.raises(ValueError, match="missing: max_gap"):
        AlignmentRecipe.from_json(stored)
    with pytest.raises(ValueError, match="not JSON"):
        AlignmentRecipe.from_json("{")
    with pytest.raises(ValueError, match="expected a JSON object"):
        AlignmentRecipe.from_json("[1]")


def test_the_look_ahead_counts_smoothing_and_gap():
    assert AlignmentRecipe(smoothing="mean", smoothing_window=9, max_gap=4).look_ahead == 8
    assert AlignmentRecipe(smoothing_causal=True, max_gap=0).look_ahead == 0
    assert AlignmentRecipe(smoothing="none", max_gap=2).look_ahead == 2
