from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax.models import operations


def values(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def plain_pool(x):
    pad = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pad)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5), (1, 2)])
@pytest.mark.parametrize("ties", [False, True])
def test_the_gradient_of_pooling_goes_where_xla_sends_it(size, ties):
    x = values(2, *size, 3)
    if ties:
        x = jnp.round(x)
    pooled, pull = jax.vjp(operations.max_pool, x)
    expected, expected_pull = jax.vjp(plain_pool, x)
    np.testing.assert_array_equal(pooled, expected)
    gradient = values(*pooled.shape, seed=1)
    np.testing.assert_allclose(pull(gradient)[0], expected_pull(gradient)[0], rtol=1e-6, atol=1e-6)


def test_pooling_passes_on_what_is_no_number():
    x = values(1, 8, 8, 2).at[0, 3, 3, 1].set(jnp.nan)
    pooled = jax.vjp(operations.max_pool, x)[0]
    np.testing.assert_array_equal(pooled, plain_pool(x))


def plain_norm(x, scale, bias, axes, eps):
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    return (x - mean) * (scale * jax.lax.rsqrt(var + eps)) + bias


@pytest.mark.parametrize(
    ("shape", "axes", "features"),
    [((4, 5, 6, 3), (0, 1, 2), (1, 1, 1, 3)), ((2, 3, 5, 4), (1, 3), (1, 1, 5, 1)), ((7, 2), (0,), (1, 2))],
)
def test_the_gradient_of_batch_norm_is_that_of_its_definition(float64, shape, axes, features):
    x, gradient = (values(*shape, seed=seed).astype(jnp.float64) for seed in (0, 1))
    scale, bias = (values(*features, seed=seed).astype(jnp.float64) for seed in (2, 3))
    found, pull = jax.vjp(lambda *given: operations.batch_norm(*given, axes, 1e-5)[0], x, scale, bias)
    expected, expected_pull = jax.vjp(lambda *given: plain_norm(*given, axes, 1e-5), x, scale, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    for ours, plain in zip(pull(gradient), expected_pull(gradient), strict=True):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


def test_batch_norm_keeps_the_formats():
    x, one = values(8, 3).astype(jnp.bfloat16), jnp.ones((1, 3), jnp.float32)
    (found, mean, _), pull = jax.vjp(lambda *given: operations.batch_norm(*given, (0,), 1e-5), x, one, one)
    assert found.dtype == mean.dtype == jnp.float32
    gradients = pull((found, jnp.zeros_like(mean), jnp.zeros_like(mean)))
    assert [gradient.dtype for gradient in gradients] == [jnp.bfloat16, jnp.float32, jnp.float32]


def test_what_is_stored_is_the_same_and_has_its_gradient():
    x = values(4, 3)
    found, pull = jax.vjp(jax.jit(operations.stored), x)
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(pull(2 * x)[0], 2 * x)


@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 4, 5), (5,)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_of_a_product_is_that_of_its_definition(float64, shape, bias):
    sizes = [shape, (5, 3), (3,)][: 3 if bias else 2]
    given = [values(*size, seed=i).astype(jnp.float64) for i, size in enumerate(sizes)]
    found, pull = jax.vjp(operations.product, *given)
    expected, expected_pull = jax.vjp(lambda x, kernel, bias=0.0: x @ kernel + bias, *given)
    np.testing.assert_array_equal(found, expected)
    for ours, plain in zip(pull(found), expected_pull(found), strict=True):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


def test_gelu_and_its_gradient_are_those_of_the_definition(float64):
    x, gradient = (3 * values(1000, seed=seed).astype(jnp.float64) for seed in (0, 1))
    found, pull = jax.vjp(operations.gelu, x)
    expected, expected_pull = jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(pull(gradient)[0], expected_pull(gradient)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-6), (jnp.bfloat16, 2e-2)])
def test_gelu_computes_in_float32_and_keeps_the_format(dtype, error):
    x = jnp.linspace(-6, 6, 1001).astype(dtype)
    found, pull = jax.vjp(operations.gelu, x)
    assert found.dtype == pull(found)[0].dtype == dtype
    wide = x.astype(jnp.float32)
    np.testing.assert_allclose(found.astype(jnp.float32), jax.nn.gelu(wide, approximate=False), atol=error)


def test_gelu_keeps_its_input_alone_for_the_gradient():
    """In arrays of the input's size; without `hidden` the compiler keeps one a layer more."""
    layers, rows, width = 6, 1024, 64

    def chain(x, kernels):
        for first, second in kernels:
            x = x + operations.gelu(x @ first) @ second
        return jnp.sum(x * x)

    x, kernels = jnp.ones((rows, width)), jnp.ones((layers, 2, width, width))
    compiled = jax.jit(jax.grad(chain, (0, 1))).lower(x, kernels).compile()
    planned: Any = compiled.memory_analysis()
    assert planned.temp_size_in_bytes / x.nbytes < 3.7 * layers


def plain_layer_norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + 1e-5) * scale + bias


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 5, 6)])
def test_the_gradient_of_layer_norm_is_that_of_its_definition(float64, shape):
    x, gradient = (values(*shape, seed=seed).astype(jnp.float64) for seed in (0, 1))
    scale, bias = (values(shape[-1], seed=seed).astype(jnp.float64) for seed in (2, 3))
    found, pull = jax.vjp(lambda *given: operations.layer_norm(*given, 1e-5), x, scale, bias)
    expected, expected_pull = jax.vjp(plain_layer_norm, x, scale, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    for ours, plain in zip(pull(gradient), expected_pull(gradient), strict=True):
        assert ours.shape == plain.shape
        np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


def test_layer_norm_keeps_the_formats():
    x, one = values(8, 3).astype(jnp.bfloat16), jnp.ones((3,), jnp.float32)
    found, pull = jax.vjp(lambda *given: operations.layer_norm(*given, 1e-5), x, one, one)
    assert found.dtype == jnp.float32
    assert [gradient.dtype for gradient in pull(found)] == [jnp.bfloat16, jnp.float32, jnp.float32]


def test_a_stored_gradient_is_the_same():
    x = values(4, 3)
    found, pull = jax.vjp(jax.jit(operations.gradient_stored), x)
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(pull(2 * x)[0], 2 * x)
