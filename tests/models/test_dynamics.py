import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdhr_jax.models.dynamics import (
    MultiScaleDynamics,
    average_neighbours,
    repeat_ends,
    temporal_differences,
)
from mdhr_jax.models.layers import Precision

C, EDGE = 2, 2


def clips(frames=6, seed=0):
    """Maps of the four scales, finest first."""
    rng = np.random.default_rng(seed)
    return tuple(
        jnp.asarray(rng.normal(size=(3, frames, EDGE * 2**i, EDGE * 2**i, C * 2 ** (3 - i))), jnp.float32)
        for i in (3, 2, 1, 0)
    )


def make(**changes):
    options = {"neighbors": 2, "scales": (1, 2, 3, 4), "fusion": "adaptive", "variant": "reference"} | changes
    return MultiScaleDynamics(C, 5, **options, precision=Precision(), rngs=nnx.Rngs(params=jax.random.key(0)))


def test_differences_are_named_by_their_later_frame():
    clip = np.random.default_rng(0).normal(size=(2, 4, 1, 1, 3)).astype(np.float32)
    np.testing.assert_allclose(temporal_differences(jnp.asarray(clip)), np.diff(clip, axis=1), atol=1e-6)


@pytest.mark.parametrize(("frames", "neighbors"), [(2, 1), (2, 5), (6, 1), (6, 2), (6, 8), (16, 5)])
def test_average_counts_missing_differences_as_zero(frames, neighbors):
    d = np.random.default_rng(1).normal(size=(2, frames - 1, 1, 1, 3))
    expected = np.zeros((2, frames, 1, 1, 3))
    for t in range(1, frames + 1):  # Frames and differences counted from 1, as in Eq. 3.
        for later in range(t - neighbors + 1, t + neighbors + 1):
            if 2 <= later <= frames:
                expected[:, t - 1] += d[:, later - 2] / (2 * neighbors)
    found = average_neighbours(jnp.asarray(d, jnp.float32), frames, neighbors)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_repeated_ends_leave_no_difference_missing():
    clip = np.random.default_rng(2).normal(size=(1, 5, 1, 1, 1)).astype(np.float32)
    padded = repeat_ends(jnp.asarray(clip), 3)
    assert padded[0, :, 0, 0, 0].tolist() == [clip[0, i, 0, 0, 0] for i in [0] * 3 + list(range(5)) + [4] * 3]
    d = np.diff(np.asarray(padded), axis=1)
    found = average_neighbours(jnp.asarray(d), 5, 3)
    expected = [d[0, t : t + 6, 0, 0, 0].mean() for t in range(5)]
    np.testing.assert_allclose(found[0, :, 0, 0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize("fusion", ["adaptive", "sum", "concat"])
@pytest.mark.parametrize("scales", [(1,), (2, 4), (1, 2, 3, 4)])
def test_every_setting_gives_one_map_a_frame(variant, fusion, scales):
    module = make(variant=variant, fusion=fusion, scales=scales)
    out = module(clips())
    assert out.shape == (3, 6, EDGE, EDGE, 5 if variant == "reference" else 8 * C)
    assert np.isfinite(out).all()
    names = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(module, nnx.Param))}
    assert any("weight_conv" in name for name in names) == (fusion == "adaptive" and len(scales) > 1)
    assert any("squeeze" in name for name in names) == (
        fusion == "adaptive" and len(scales) > 1 and variant == "reference"
    )


def test_adaptive_weights_sum_to_one_and_weigh_the_scales():
    module = make()
    pooled = [
        jnp.asarray(np.random.default_rng(i).normal(size=(1, 2, EDGE, EDGE, 8 * C)), jnp.float32)
        for i in range(4)
    ]
    weights = module.weights(module.weight_logits(pooled))
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    assert weights.std() > 1e-3
    mixed = sum(np.asarray(x) * np.asarray(weights[..., i, None]) for i, x in enumerate(pooled))
    np.testing.assert_allclose(module.fuse(pooled, module.weight_logits(pooled)), mixed, atol=1e-6)


def test_a_still_clip_has_the_same_dynamics_in_every_inner_frame():
    still = tuple(jnp.repeat(x[:, :1], 8, axis=1) for x in clips())
    module = make(variant="paper", neighbors=2)
    module.eval()
    out = np.asarray(module(still))
    np.testing.assert_allclose(out, np.repeat(out[:, :1], 8, axis=1), atol=1e-5)
