import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from mdhr_jax.models.layers import Precision
from mdhr_jax.models.swin import (
    PatchMerging,
    Swin,
    SwinBlock,
    SwinConfig,
    relative_position_index,
    shift_mask,
)


def rngs():
    return nnx.Rngs(params=jax.random.key(0))


def test_relative_positions_index_the_table_by_displacement():
    index = relative_position_index()
    assert index.shape == (49, 49)
    assert (np.diag(index) == 6 * 13 + 6).all()
    # From the bottom right to the top left pixel: dy = dx = 6; back: both -6.
    assert index[48, 0] == 12 * 13 + 12
    assert index[0, 48] == 0
    assert index[0, 1] == 6 * 13 + 5
    assert len(np.unique(index)) == 169


def test_shifted_windows_see_true_neighbours_only():
    mask = shift_mask(14, 14)
    assert mask.shape == (4, 49, 49)
    assert (mask[0] == 0).all()
    # Positions of each pixel of the rolled map in the original one.
    rolled = np.roll(np.arange(14 * 14).reshape(14, 14), (-3, -3), (0, 1))
    windows = rolled.reshape(2, 7, 2, 7).transpose(0, 2, 1, 3).reshape(4, 49)
    y, x = np.divmod(windows, 14)
    adjacent = (np.abs(y[:, :, None] - y[:, None]) < 7) & (np.abs(x[:, :, None] - x[:, None]) < 7)
    assert ((mask == 0) == adjacent).all()
    assert set(np.unique(mask)) == {-100.0, 0.0}


def test_merging_concatenates_the_four_parities_in_order():
    merge = PatchMerging(1, precision=Precision(), rngs=rngs())
    merge.reduction.kernel[...] = jnp.eye(4)[:, :2]
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    top_left = jnp.array([0.0, 4.0, 1.0, 5.0])  # (0,0), (1,0), (0,1), (1,1)
    normalised = (top_left - top_left.mean()) / jnp.sqrt(top_left.var() + 1e-5)
    np.testing.assert_allclose(merge(x)[0, 0, 0], normalised[:2], atol=1e-5)


def test_shifting_moves_the_windows_by_half_their_width():
    plain = SwinBlock(4, 2, shifted=False, drop_path=0.0, precision=Precision(), rngs=rngs())
    shifted = SwinBlock(4, 2, shifted=True, drop_path=0.0, precision=Precision(), rngs=rngs())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 14, 14, 4)), jnp.float32)
    moved = x.at[0, 6, 6, 0].add(5.0)
    for block in (plain, shifted):
        for layer in (block.attention.qkv, block.attention.proj):
            layer.kernel[...] = 30 * layer.kernel[...]

    def reach(block):
        return np.argwhere(np.abs(np.asarray(block(moved, None) - block(x, None))).max((0, 3)) > 1e-5)

    assert reach(plain).max() == 6  # The first window only.
    assert reach(shifted).min() == 3  # The window from 3 to 9 in both axes.
    assert reach(shifted).max() == 9


def test_a_map_of_one_window_is_not_shifted():
    plain = SwinBlock(4, 2, shifted=False, drop_path=0.0, precision=Precision(), rngs=rngs())
    shifted = SwinBlock(4, 2, shifted=True, drop_path=0.0, precision=Precision(), rngs=rngs())
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 7, 7, 4)), jnp.float32)
    np.testing.assert_array_equal(plain(x, None), shifted(x, None))


def small(last_scale="input"):
    config = SwinConfig((1, 2, 1, 1), (1, 1, 1, 1), width=4, drop_path=0.8)
    return Swin(config, last_scale=last_scale, precision=Precision(), rngs=rngs())


def test_scales_are_the_inputs_of_the_stages():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 224, 224, 3)), jnp.float32)
    model = small()
    out = model(x)
    assert [scale.shape[1:] for scale in out.scales] == [(56, 56, 4), (28, 28, 8), (14, 14, 16), (7, 7, 32)]
    np.testing.assert_array_equal(out.scales[0], model.patch_norm(model.patch_embed(x)))
    np.testing.assert_allclose(out.final, model.norm(model.stages[3][0](out.scales[3], None)), atol=1e-5)
    paper = small("output")(x)
    np.testing.assert_array_equal(paper.scales[3], paper.final)
    np.testing.assert_array_equal(paper.scales[2], out.scales[2])


def test_stochastic_depth_rises_over_the_blocks_and_draws_from_the_key():
    model = small()
    rates = [block.drop_path.rate for stage in model.stages for block in stage]
    np.testing.assert_allclose(rates, np.linspace(0, 0.8, 5))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 224, 224, 3)), jnp.float32)
    final = jax.jit(lambda key: model(x, key).final)
    one, two = final(jax.random.key(0)), final(jax.random.key(1))
    assert np.abs(one - two).max() > 1e-4
    np.testing.assert_array_equal(one, final(jax.random.key(0)))
    model.eval()
    np.testing.assert_array_equal(model(x, jax.random.key(0)).final, model(x).final)
