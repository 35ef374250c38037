import pytest

from mdhr_jax.data.synthetic import card, generator


@pytest.mark.parametrize("preset", generator.PRESETS)
@pytest.mark.parametrize("like", generator.LIKES)
def test_the_card_says_what_the_set_is(preset, like):
    spec = generator.SyntheticSpec(like=like, preset=preset, seed=7, subjects=9)
    text = card.data_card(spec)
    assert text == card.data_card(spec)
    for said in (
        f"version {generator.GENERATOR_VERSION}",
        f"--like {like} --preset {preset} --seed 7 --subjects 9",
        ", ".join(spec.au_set.au_names),
        f"{generator.thresholds(spec)[0]:.2f}",
        "What it cannot show",
        "mouth_left",
    ):
        assert said in " ".join(text.split())
    assert "{" not in text
