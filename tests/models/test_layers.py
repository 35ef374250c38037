import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import signal

from mdhr_jax.models.layers import BatchNorm, Conv, DropPath, LayerNorm, LinearBlock, Precision

F32 = Precision()


def rngs():
    return nnx.Rngs(params=jax.random.key(3))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(1, 1, 0), (1, 2, 0), (2, 2, 0), (4, 4, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3)],
)
def test_convolution_is_a_padded_correlation(kernel, stride, padding):
    conv = Conv(2, 3, kernel, stride=stride, padding=padding, use_bias=True, precision=F32, rngs=rngs())
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 2))
    padded = np.pad(x[0], ((padding, padding), (padding, padding), (0, 0)))
    weights, bias = np.asarray(conv.kernel[...], float), np.asarray(conv.bias[...])
    expected = np.stack(
        [
            sum(signal.correlate2d(padded[..., c], weights[..., c, d], "valid") for c in range(2)) + bias[d]
            for d in range(3)
        ],
        axis=-1,
    )[::stride, ::stride]
    found = conv(jnp.asarray(x))
    assert found.shape[1:] == expected.shape
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_norm_normalises_with_the_biased_and_keeps_the_unbiased_variance(axis):
    x = np.random.default_rng(1).normal(3.0, 2.0, size=(5, 4, 4))
    norm = BatchNorm(4, axis=axis, precision=F32)
    norm.scale[...] = jnp.array([1.0, 2.0, 3.0, 4.0])
    norm.bias[...] = jnp.array([0.5, 0.0, 0.0, -0.5])
    y = np.moveaxis(np.asarray(norm(jnp.asarray(x))), axis, -1).reshape(-1, 4)
    flat = np.moveaxis(x, axis, -1).reshape(-1, 4)
    expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * [1, 2, 3, 4] + [0.5, 0, 0, -0.5]
    np.testing.assert_allclose(y, expected, atol=1e-4)
    np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)
    assert norm.num_batches[...] == 1

    norm.eval()
    running = (flat - norm.mean[...]) / np.sqrt(np.asarray(norm.var[...]) + 1e-5)
    y = np.moveaxis(np.asarray(norm(jnp.asarray(x))), axis, -1).reshape(-1, 4)
    np.testing.assert_allclose(
        y, np.asarray(running) * [1, 2, 3, 4] + [0.5, 0, 0, -0.5], rtol=1e-4, atol=1e-4
    )
    assert norm.num_batches[...] == 1


@pytest.mark.parametrize("axis", [-1, 1])
def test_groups_are_normalised_apart_and_the_first_is_kept(axis):
    x = jnp.asarray(np.random.default_rng(1).normal(3.0, 2.0, size=(6, 4, 4)))
    together = BatchNorm(4, axis=axis, precision=F32)
    together.groups = 3
    found = together(x)
    for i in range(3):
        alone = BatchNorm(4, axis=axis, precision=F32)
        np.testing.assert_allclose(found[2 * i : 2 * i + 2], alone(x[2 * i : 2 * i + 2]), atol=1e-5)
        if i == 0:
            np.testing.assert_allclose(together.mean[...], alone.mean[...], rtol=1e-6)
            np.testing.assert_allclose(together.var[...], alone.var[...], rtol=1e-6)
    assert together.num_batches[...] == 1
    with pytest.raises(ValueError, match="batch of 5 cannot be normalised in 3"):
        together(x[:5])
    together.eval()
    assert together(x[:5]).shape == (5, 4, 4)


def test_layer_norm_normalises_the_last_axis():
    norm = LayerNorm(6, precision=F32)
    x = np.random.default_rng(2).normal(2.0, 3.0, size=(3, 6))
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=1e-5)


def test_blocks_side_by_side_are_independent_blocks():
    wide = LinearBlock(5, 4, blocks=2, precision=F32, rngs=rngs())
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 5)), jnp.float32)
    both = wide(x)
    second = LinearBlock(5, 4, precision=F32, rngs=rngs())
    second.linear.kernel[...] = wide.linear.kernel[...][:, 4:]
    second.linear.bias[...] = wide.linear.bias[...][4:]
    np.testing.assert_allclose(both[..., 4:], second(x), atol=1e-6)
    assert (np.asarray(both) >= 0).all()


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    x = jnp.ones((4000, 2, 3))
    drop = DropPath(0.3)
    y = np.asarray(drop(x, jax.random.key(0)))
    per_image = y.reshape(len(y), -1)
    assert set(np.unique(per_image.round(4))) == {0.0, np.float32(1 / 0.7).round(4)}
    assert (per_image == per_image[:, :1]).all()
    assert y.mean() == pytest.approx(1.0, abs=0.05)
    assert (drop(x, None) == x).all()
    drop.eval()
    assert (drop(x, jax.random.key(0)) == x).all()
    with pytest.raises(ValueError, match="stochastic depth"):
        DropPath(1.0)


def test_statistics_stay_in_float32_under_bfloat16():
    norm = BatchNorm(2, precision=Precision(jnp.bfloat16, jnp.float32))
    x = 1000 + jnp.arange(8, dtype=jnp.float32).reshape(4, 2)
    y = norm(x)
    assert y.dtype == jnp.bfloat16
    assert norm.mean[...].dtype == jnp.float32
    np.testing.assert_allclose(norm.mean[...], 0.1 * np.asarray(x).mean(0), rtol=1e-6)
