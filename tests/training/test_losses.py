"""The losses against a literal NumPy transcription, and what unknown labels and micro-batches do to them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.training import losses

AU_SETS = (facs.BP4D, facs.DISFA, facs.BP4D.with_merged_bands())


def make(seed, au_set=facs.DISFA, clips=3, length=4, unknown=0.2, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shape = (clips, length, au_set.num_aus)
    scores = rng.random(shape)
    scores.flat[:4] = (0.0, 1.0, 1e-12, 1 - 1e-12)
    labels = rng.integers(0, 2, shape)
    labels[rng.random(shape) < unknown] = rng.choice((-1, 9))
    logits = tuple(
        rng.normal(size=(clips * length, r.num_combinations)).astype(dtype) for r in au_set.regions
    )
    weights = 0.5 + rng.random(au_set.num_aus)
    return scores.astype(dtype), logits, labels.astype(np.int8), facs.encode_regions(au_set, labels), weights


def on_device(tree):
    return jax.tree.map(jnp.asarray, tree)


def by_hand(scores, logits, labels, codes, weights, paper=False):
    """Both losses entry by entry."""
    clips, length, _ = scores.shape
    au_sum, au_count = 0.0, 0
    for b, t, n in np.ndindex(scores.shape):
        p, y = float(scores[b, t, n]), int(labels[b, t, n])
        if y == 1:
            au_sum -= weights[n] * math.log(max(p, 1e-8))
        elif y == 0:
            au_sum -= weights[n] * p * math.log(max(1 - p, 1e-8))
        au_count += y in (0, 1)
    region_sums, region_means = 0.0, []
    for r, region in enumerate(logits):
        terms = []
        for b, t in np.ndindex(clips, length):
            row = region[b * length + t].astype(np.float64)
            if codes[b, t, r] >= 0:
                terms.append(math.log(np.exp(row).sum()) - row[codes[b, t, r]])
        region_sums += sum(terms)
        region_means.append(sum(terms) / len(terms) if terms else 0.0)
    if paper:
        return au_sum / clips, region_sums / clips
    return au_sum / max(au_count, 1), sum(region_means) / len(region_means)


@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
@pytest.mark.parametrize("au_set", AU_SETS, ids=lambda a: f"{a.name}{len(a.regions)}")
def test_values_are_those_of_the_transcription(au_set, unknown, variant):
    with jax.enable_x64(True):
        data = make(0, au_set, unknown=unknown)
        found = losses.total_loss(*on_device(data), variant=variant)
        au, region = by_hand(*data, paper=variant == "paper")
        np.testing.assert_allclose(found.au, au, rtol=1e-12)
        np.testing.assert_allclose(found.region, region, rtol=1e-12)
        np.testing.assert_allclose(found.total, au + 0.01 * region, rtol=1e-12)
        assert found.total.dtype == jnp.float64


def test_gradient_goes_through_the_factor_only_in_the_paper_variant():
    p, w = jnp.float32([[[0.3, 0.8]]]), jnp.float32([2.0, 3.0])
    labels = jnp.int8([[[0, 0]]])
    for variant, count in (("reference", 2), ("paper", 1)):
        found = jax.grad(lambda s, v=variant: losses.au_loss(s, labels, w, variant=v))(p)
        expected = w * p / (1 - p) - (w * np.log(1 - p) if variant == "paper" else 0)
        np.testing.assert_allclose(found, expected / count, rtol=1e-5)
    found = jax.grad(lambda s: losses.au_loss(s, jnp.int8([[[1, 1]]]), w))(p)
    np.testing.assert_allclose(found, -w / p / 2, rtol=1e-5)


@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_unknown_entries_have_no_influence_even_where_they_are_nan(variant):
    scores, logits, labels, codes, weights = make(1, dtype=np.float32)

    def loss(scores, logits):
        return losses.total_loss(scores, logits, *on_device((labels, codes)), weights, variant=variant).total

    unknown = (labels != 0) & (labels != 1)
    bad_logits = tuple(
        np.where((codes[..., r].reshape(-1) < 0)[:, None], np.nan, x) for r, x in enumerate(logits)
    )
    clean, clean_gradients = jax.value_and_grad(loss, (0, 1))(*on_device((scores, logits)))
    found, gradients = jax.value_and_grad(loss, (0, 1))(
        *on_device((np.where(unknown, np.nan, scores), bad_logits))
    )
    assert unknown.any()
    assert found == clean
    jax.tree.map(np.testing.assert_array_equal, gradients, clean_gradients)
    assert not np.asarray(gradients[0])[unknown].any()


@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_nothing_known_is_zero_with_zero_gradients(variant):
    scores, logits, labels, codes, weights = make(2, dtype=np.float32)

    def loss(scores, logits):
        nothing = jnp.full_like(labels, 9), jnp.full_like(codes, -1)
        return losses.total_loss(scores, logits, *nothing, weights, variant=variant).total

    value, gradients = jax.value_and_grad(loss, (0, 1))(*on_device((scores, logits)))
    assert value == 0
    assert all(not np.asarray(leaf).any() for leaf in jax.tree.leaves(gradients))


def test_a_region_without_known_frames_adds_zero_and_leaves_the_others_share():
    _, logits, _, codes, _ = on_device(make(3, unknown=0.0, dtype=np.float32))
    alone = [losses.region_loss(logits, jnp.where(jnp.arange(3) == r, codes, -1)) for r in range(3)]
    np.testing.assert_allclose(sum(alone), losses.region_loss(logits, codes), rtol=1e-6)


@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize("unknown", [0.0, 0.4])
def test_micro_batches_add_up_to_the_batch(variant, unknown):
    with jax.enable_x64(True):
        scores, logits, labels, codes, weights = on_device(make(4, clips=4, length=3, unknown=unknown))
        counts = losses.loss_counts(labels, codes, variant=variant)

        def loss(scores, logits, clips, counts=None):
            return losses.total_loss(
                scores, logits, labels[clips], codes[clips], weights, variant=variant, counts=counts
            ).total

        whole, whole_gradient = jax.value_and_grad(loss)(scores, logits, slice(0, 4))
        parts = [slice(0, 1), slice(1, 4)]
        micro = [
            jax.value_and_grad(loss)(scores[c], tuple(x[c.start * 3 : c.stop * 3] for x in logits), c, counts)
            for c in parts
        ]
        np.testing.assert_allclose(sum(value for value, _ in micro), whole, rtol=1e-13)
        np.testing.assert_allclose(np.concatenate([g for _, g in micro]), whole_gradient, rtol=1e-12)


def test_bfloat16_scores_are_computed_in_float32():
    scores, logits, labels, codes, weights = on_device(make(5, dtype=np.float32))
    low = scores.astype(jnp.bfloat16), tuple(x.astype(jnp.bfloat16) for x in logits)
    found = losses.total_loss(*low, labels, codes, weights)
    raised = low[0].astype(jnp.float32), tuple(x.astype(jnp.float32) for x in low[1])
    expected = losses.total_loss(*raised, labels, codes, weights)
    assert found.total.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_without_region_heads_the_region_loss_is_zero():
    scores, _, labels, codes, weights = on_device(make(6, dtype=np.float32))
    found = losses.total_loss(scores, (), labels, codes, weights)
    assert found.region == 0
    assert found.total == found.au > 0


def test_logits_that_do_not_fit_the_labels_are_refused():
    _, logits, _, codes, _ = on_device(make(7, dtype=np.float32))
    with pytest.raises(ValueError, match="2 regions, labels of 3"):
        losses.region_loss(logits[:2], codes)
    with pytest.raises(ValueError, match="11 frames, labels of 3 clips x 4"):
        losses.region_loss(tuple(x[1:] for x in logits), codes)


@pytest.mark.parametrize("au_set", AU_SETS, ids=lambda a: f"{a.name}{len(a.regions)}")
def test_region_labels_are_those_of_the_table(au_set):
    labels = np.random.default_rng(8).choice([-1, 0, 1, 9], (50, 7, au_set.num_aus), p=[0.1, 0.4, 0.4, 0.1])
    found = jax.jit(lambda x: losses.encode_region_labels(au_set, x))(jnp.asarray(labels, jnp.int8))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, facs.encode_regions(au_set, labels))
    assert (np.asarray(found) == facs.UNKNOWN).any()
    assert (np.asarray(found) > 0).any()


def test_weights_are_inverse_rates_with_mean_one():
    weights = losses.weights_from_rates(np.array([0.5, 0.25, 0.1]))
    np.testing.assert_allclose(weights, np.array([2, 4, 10]) / 16 * 3, rtol=1e-15)


def test_an_au_that_never_occurs_leaves_the_weights_of_the_others():
    weights = losses.weights_from_rates(np.array([0.5, 0.0, 0.25, 0.1, 0.0]))
    np.testing.assert_allclose(weights[[0, 2, 3]], losses.weights_from_rates(np.array([0.5, 0.25, 0.1])))
    assert weights[[1, 4]].tolist() == [1, 1]
    assert losses.weights_from_rates(np.zeros(3)).tolist() == [1, 1, 1]
