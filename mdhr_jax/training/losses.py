"""The weighted asymmetric AU loss and the region loss of MDHR, with unknown labels masked.

A label that is neither 0 nor 1 is unknown: it adds nothing to a loss, to a gradient or to the number
that a mean divides by.

Micro-batches add up exactly. A loss is a sum over entries divided by counts that depend on labels
alone, so with the counts of the whole batch (`loss_counts`) passed to every micro-batch, the
micro-batches' losses, and their gradients, sum to those of the whole batch, whatever is unknown.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Shaped

from mdhr_jax import facs

REGION_WEIGHT = 0.01
"""Weight of the region loss in the total."""

SMALLEST_PROBABILITY = 1e-8
"""Scores are raised to this before the logarithm."""


class LossCounts(NamedTuple):
    """What the sums are divided by: known entries ("reference") or clips ("paper").

    Attributes:
        au: for the AU loss.
        region: for the region loss, one count a region group.
    """

    au: Float[Array, ""]
    region: Float[Array, " R"]


class Losses(NamedTuple):
    """Scalars in nats: ``total = au + region_weight * region``."""

    total: Float[Array, ""]
    au: Float[Array, ""]
    region: Float[Array, ""]


def loss_counts(
    labels: Integer[Array, "B T N"],
    region_labels: Integer[Array, "B T R"],
    *,
    variant: facs.Variant = "reference",
) -> LossCounts:
    """What `total_loss` divides by for these labels.

    Args:
        labels: 0 or 1; anything else is unknown.
        region_labels: region codes, negative where unknown (`encode_region_labels`).
        variant: see `au_loss`.

    Returns:
        float32 counts; "reference": known AU entries and, a region, known frames; "paper": clips.
    """
    if variant == "paper":
        clips = jnp.float32(labels.shape[0])
        return LossCounts(clips, jnp.full(region_labels.shape[-1], clips))
    known = (labels == 0) | (labels == 1)
    return LossCounts(
        jnp.sum(known, dtype=jnp.int32).astype(jnp.float32),
        jnp.sum(region_labels >= 0, axis=(0, 1), dtype=jnp.int32).astype(jnp.float32),
    )


def au_loss(
    scores: Float[Array, "B T N"],
    labels: Integer[Array, "B T N"],
    weights: Shaped[Array | np.ndarray, " N"],
    *,
    variant: facs.Variant = "reference",
    count: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Weighted asymmetric loss ``-w [y log p + p (1 - y) log(1 - p)]`` over known entries.

    Computed in float32, in float64 where the scores are float64.

    Args:
        scores: similarity scores p in [0, 1].
        labels: 0 or 1; anything else is unknown.
        weights: w, one an AU (`weights_from_rates`).
        variant: "reference": mean over known entries, no gradient through the factor p;
            "paper": sum over frames and AUs, mean over clips, with that gradient.
        count: divisor to use in place of this batch's own (see the module's text).

    Returns:
        Scalar; 0 where nothing is known.
    """
    dtype = jnp.promote_types(scores.dtype, jnp.float32)
    known = (labels == 0) | (labels == 1)
    # The masked score goes through the logarithm too: without this its gradient would be 0 * inf = nan.
    p = jnp.where(known, scores.astype(dtype), 0.5)
    factor = jax.lax.stop_gradient(p) if variant == "reference" else p
    positive = jnp.log(jnp.maximum(p, SMALLEST_PROBABILITY))
    negative = factor * jnp.log(jnp.maximum(1 - p, SMALLEST_PROBABILITY))
    terms = -jnp.asarray(weights, dtype) * jnp.where(labels == 1, positive, negative)
    if count is None:
        count = loss_counts(labels, labels[..., :0], variant=variant).au
    return jnp.sum(jnp.where(known, terms, 0)) / jnp.maximum(count, 1).astype(dtype)


def region_loss(
    region_logits: tuple[Float[Array, "frames _"], ...],
    region_labels: Integer[Array, "B T R"],
    *,
    variant: facs.Variant = "reference",
    counts: Float[Array, " R"] | None = None,
) -> Float[Array, ""]:
    """Cross-entropy of the region classifiers.

    "reference": mean over the known frames of a region, then mean over all R regions. A region
    without any known frame adds 0 and still counts in R, so that the share of one region never
    depends on what was coded in another. "paper": sum over frames and regions, mean over clips.

    Args:
        region_logits: one array a region group, unnormalised, clips and frames flattened to B*T;
            empty where the model has no region heads (the loss is 0).
        region_labels: region codes, negative where unknown.
        variant: as above.
        counts: divisors to use in place of this batch's own (see the module's text).

    Returns:
        Scalar, float32 or float64; 0 where nothing is known.

    Raises:
        ValueError: logits and labels disagree in regions or frames.
    """
    clips, length, regions = region_labels.shape
    if not region_logits:
        return jnp.zeros((), jnp.float32)
    if len(region_logits) != regions:
        raise ValueError(f"logits of {len(region_logits)} regions, labels of {regions}; they must agree")
    if counts is None:
        counts = loss_counts(region_labels[..., :0], region_labels, variant=variant).region
    total = jnp.zeros((), jnp.float32)
    for r, logits in enumerate(region_logits):
        if logits.shape[0] != clips * length:
            raise ValueError(
                f"region {r}: logits of {logits.shape[0]} frames, labels of {clips} clips x {length} frames"
            )
        dtype = jnp.promote_types(logits.dtype, jnp.float32)
        target = region_labels[..., r].reshape(-1)
        known = target >= 0
        log_probabilities = jax.nn.log_softmax(jnp.where(known[:, None], logits.astype(dtype), 0))
        picked = jnp.take_along_axis(log_probabilities, jnp.maximum(target, 0)[:, None], axis=1)[:, 0]
        total -= jnp.sum(jnp.where(known, picked, 0)) / jnp.maximum(counts[r], 1).astype(dtype)
    return total / regions if variant == "reference" else total


def total_loss(
    scores: Float[Array, "B T N"],
    region_logits: tuple[Float[Array, "frames _"], ...],
    labels: Integer[Array, "B T N"],
    region_labels: Integer[Array, "B T R"],
    weights: Shaped[Array | np.ndarray, " N"],
    *,
    variant: facs.Variant = "reference",
    region_weight: float = REGION_WEIGHT,
    counts: LossCounts | None = None,
) -> Losses:
    """AU loss plus `region_weight` times region loss.

    Args:
        scores, labels, weights: see `au_loss`.
        region_logits, region_labels: see `region_loss`.
        variant: "reference" or "paper".
        region_weight: weight of the region loss.
        counts: `loss_counts` of the whole batch where this is one micro-batch of it.

    Returns:
        Total, AU and region loss.

    Raises:
        ValueError: see `region_loss`.
    """
    au = au_loss(scores, labels, weights, variant=variant, count=None if counts is None else counts.au)
    region = region_loss(
        region_logits, region_labels, variant=variant, counts=None if counts is None else counts.region
    )
    return Losses(au + region_weight * region, au, region)


def encode_region_labels(au_set: facs.AUSet, labels: Integer[Array, "*batch N"]) -> Int[Array, "*batch R"]:
    """Region codes from AU labels, as `facs.encode_regions`, inside a jitted function.

    Returns:
        int32; `facs.UNKNOWN` where any AU of the region group is unknown.
    """
    codes = []
    for region in au_set.regions:
        bits = labels[..., np.asarray(au_set.columns(region))].astype(jnp.int32)
        place = jnp.asarray([1 << i for i in reversed(range(len(region.aus)))], jnp.int32)
        known = jnp.all((bits == 0) | (bits == 1), axis=-1)
        codes.append(jnp.where(known, jnp.sum(bits * place, axis=-1, dtype=jnp.int32), facs.UNKNOWN))
    return jnp.stack(codes, axis=-1).astype(jnp.int32)


def weights_from_rates(rates: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Loss weights ``w_n = (1/rate_n) / sum_j(1/rate_j) * N`` over the AUs that occur.

    An AU that never occurs has no such weight. It gets 1, the mean of the others: its frames can only
    teach that it is absent, and the weights of the others are as if it did not exist.

    Args:
        rates: share of the training fold's known frames in which each AU is present, in [0, 1].

    Returns:
        float64 weights with mean 1.
    """
    rates = np.asarray(rates, np.float64)
    occurs = rates > 0
    weights = np.ones_like(rates)
    inverse = 1 / rates[occurs]
    weights[occurs] = inverse / inverse.sum() * len(inverse)
    return weights
