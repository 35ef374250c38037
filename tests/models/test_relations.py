import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.models.layers import Precision
from mdhr_jax.models.relations import LocalRelations, active_aus


def make(au_set=facs.BP4D, **changes):
    options = {"afe": True, "aux": True, "variant": "reference"} | changes
    return LocalRelations(
        au_set.for_variant(options["variant"]),
        6,
        4,
        **options,
        precision=Precision(),
        rngs=nnx.Rngs(params=jax.random.key(1)),
    )


def features(frames=3, edge=7):
    return jnp.asarray(np.random.default_rng(0).normal(size=(frames, edge, edge, 6)), jnp.float32)


def test_active_aus_decode_the_most_likely_combination():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=(40, 12))
    codes = facs.encode_regions(facs.BP4D, labels)
    logits = tuple(
        jnp.asarray(
            5 * np.eye(region.num_combinations)[codes[:, i]] + rng.random((40, region.num_combinations))
        )
        for i, region in enumerate(facs.BP4D.regions)
    )
    assert (np.asarray(active_aus(facs.BP4D, logits)) == labels.astype(bool)).all()


@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_each_au_reads_its_own_band_only(variant):
    module = make(variant=variant)
    module.eval()
    x = features()
    before, logits = module(x)
    assert before.shape == (3, 12, 4)
    assert [r.shape[1] for r in logits] == [
        r.num_combinations for r in facs.BP4D.for_variant(variant).regions
    ]
    # Row 6 belongs to the lower band alone, row 0 to the upper.
    for row, band in ((6, "lower"), (0, "upper")):
        after, _ = module(x.at[:, row].add(3.0))
        moved = np.abs(np.asarray(after - before)).max((0, 2)) > 1e-6
        of_band = [au for region in facs.BP4D.regions if region.band == band for au in region.aus]
        assert [au for au, m in zip(facs.BP4D.aus, moved, strict=True) if m] == sorted(of_band)


def test_region_blocks_where_the_table_says_so():
    assert make(facs.BP4D).region_blocks is not None
    assert make(facs.DISFA).region_blocks is None
    assert make(facs.BP4D, variant="paper").region_blocks is None


def test_without_extractors_all_aus_share_the_mean_of_the_face():
    vectors, logits = make(afe=False, aux=False)(features())
    assert logits == ()
    assert vectors.shape == (3, 12, 6)
    np.testing.assert_allclose(
        vectors, np.repeat(np.asarray(features()).mean((1, 2))[:, None], 12, 1), atol=1e-6
    )


def test_the_papers_extractor_is_a_convolution_and_a_mean():
    module = make(variant="paper")
    vectors, _ = module(features())
    region = module.au_set.regions[0]
    tokens = np.asarray(features())[:, :3].reshape(3, -1, 6)
    linear = module.extractors[0]
    each = tokens @ np.asarray(linear.kernel[...]) + np.asarray(linear.bias[...])
    expected = each.mean(1).reshape(3, len(region.aus), 4)
    np.testing.assert_allclose(
        np.asarray(vectors)[:, list(module.au_set.columns(region))], expected, atol=1e-5
    )
