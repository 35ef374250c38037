"""Operations whose form or gradient is written out, because what follows from their definition is slow.

What they compute is the same on every device.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8


def stored(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array, which CPUs write to memory before they read it on.

    To compute elements in the order of a transposition costs them more than to write and read the array;
    accelerators do better with both in one.
    """
    return jax.lax.platform_dependent(x, cpu=jax.lax.optimization_barrier, default=lambda array: array)


def hidden(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array, which the compiler takes for another: what it has computed of x is computed anew.

    Otherwise it keeps for the backward pass what the forward pass computes from the same values.
    """
    return jax.lax.optimization_barrier(x)


@jax.custom_vjp
def gradient_stored(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same array, whose gradient CPUs finish before they read it, see `stored`.

    A convolution's gradients read that of its result several times, and some of them transposed.
    """
    return x


gradient_stored.defvjp(lambda x: (x, None), lambda _, gradient: (stored(gradient),))


@jax.custom_vjp
def product(
    x: Float[Array, "*batch C"], kernel: Float[Array, "C D"], bias: Float[Array, " D"] | None = None
) -> Float[Array, "*batch D"]:
    """Matrix product of vectors and a kernel, and a bias added.

    Its gradients are products of matrices that lie in memory as they are read: what JAX derives transposes
    the larger one first, which takes CPUs longer than the product.
    """
    y = x @ kernel
    return y if bias is None else y + bias


def _product_forward(
    x: Array, kernel: Array, bias: Array | None
) -> tuple[Array, tuple[Array, Array, Array | None]]:
    return product(x, kernel, bias), (x, kernel, bias)


def _product_backward(
    kept: tuple[Array, Array, Array | None], gradient: Array
) -> tuple[Array, Array, Array | None]:
    x, kernel, bias = kept
    rows, columns = x.reshape(-1, x.shape[-1]), stored(gradient.reshape(-1, gradient.shape[-1]))
    of_kernel = jax.lax.dot_general(rows, columns, (((0,), (0,)), ((), ())))
    of_rows = jax.lax.dot_general(columns, kernel, (((1,), (1,)), ((), ())))
    return of_rows.reshape(x.shape), of_kernel, None if bias is None else jnp.sum(columns, 0)


product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def max_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """3x3 maximum with stride 2, padded with -inf, which is the identity of the maximum.

    The gradient goes to the first of equal values, as in PyTorch. XLA's own (select-and-scatter) is slow on
    CPUs; here each pixel looks at the windows that it is part of.
    """
    pad = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pad)


def _max_pool_forward(
    x: Float[Array, "B H W C"],
) -> tuple[Float[Array, "B h w C"], tuple[Int8[Array, "B h w C"], tuple[int, ...]]]:
    """The maximum, and where in its window it is: 3 * row + column."""
    height, width = ((size + 1) // 2 for size in x.shape[1:3])
    # One more behind for odd sizes, which have a last window of their own.
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)), constant_values=-jnp.inf)
    parts = [
        padded[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2]
        for row in range(3)
        for column in range(3)
    ]
    highest, place = parts[0], jnp.zeros(parts[0].shape, jnp.int8)
    for number, part in enumerate(parts[1:], start=1):
        place = jnp.where(part > highest, jnp.int8(number), place)
        highest = jnp.maximum(highest, part)
    return highest, (place, x.shape)


def _max_pool_backward(
    kept: tuple[Int8[Array, "B h w C"], tuple[int, ...]], gradient: Float[Array, "B h w C"]
) -> tuple[Float[Array, "B H W C"]]:
    place, shape = kept
    batch, height, width, channels = place.shape
    # Pixels of odd rows are the last of one window and the first of the next, those of even rows the middle
    # of one; columns alike.
    odd_row = (jnp.arange(2 * height) % 2 == 1)[:, None, None]
    odd_column = (jnp.arange(2 * width) % 2 == 1)[None, :, None]

    def of_pixels(values: Array, down: int, right: int) -> Array:
        """What the window of each pixel has, or the one below or to the right of it."""
        values = jnp.pad(values[:, down:, right:], ((0, 0), (0, down), (0, right), (0, 0)))
        spread = jnp.broadcast_to(values[:, :, None, :, None], (batch, height, 2, width, 2, channels))
        return spread.reshape(batch, 2 * height, 2 * width, channels)

    def part(down: int, right: int) -> Array:
        row = 1 + odd_row.astype(jnp.int8) if not down else jnp.int8(0)
        column = 1 + odd_column.astype(jnp.int8) if not right else jnp.int8(0)
        mine = of_pixels(place, down, right) == 3 * row + column
        if down:
            mine &= odd_row
        if right:
            mine &= odd_column
        return jnp.where(mine, of_pixels(gradient, down, right), 0)

    total = part(0, 0) + part(0, 1) + part(1, 0) + part(1, 1)
    return (total[:, : shape[1], : shape[2]],)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(
    x: Float[Array, "*shape"],
    scale: Float[Array, "..."],
    bias: Float[Array, "..."],
    axes: tuple[int, ...],
    eps: float,
) -> tuple[Float[Array, "*shape"], Float[Array, "..."], Float[Array, "..."]]:
    """Normalises by the mean and the biased variance over some axes.

    The gradient is the closed form: what follows from the definition sums once more over what is zero.

    Args:
        x: values.
        scale, bias: with as many axes as x, of size 1 where they are not the features'; their number format
            is that of the statistics.
        axes: of x, over which statistics are taken.
        eps: added to the variance.

    Returns:
        Normalised values in the statistics' format, mean and variance with axes of size 1. No gradient flows
        through the latter two.
    """
    wide = x.astype(scale.dtype)
    mean = jnp.mean(wide, axes, keepdims=True)
    # Another mean to the compiler, so that CPUs take the difference anew each time instead of keeping it.
    var = jnp.mean(jnp.square(wide - stored(mean)), axes, keepdims=True)
    return (wide - mean) * (scale * jax.lax.rsqrt(var + eps)) + bias, mean, var


def _batch_norm_forward(x: Array, scale: Array, bias: Array, axes: tuple[int, ...], eps: float) -> Any:
    found: Any = batch_norm(x, scale, bias, axes, eps)
    normalised, mean, var = found
    return (normalised, mean, var), (x, scale, bias, mean, var)


def _batch_norm_backward(axes: tuple[int, ...], eps: float, kept: Any, gradients: Any) -> Any:
    x, scale, bias, mean, var = kept
    gradient = gradients[0]
    count = x.size // mean.size
    wide, factor = x.astype(scale.dtype), jax.lax.rsqrt(var + eps)
    total = jnp.sum(gradient, axes, keepdims=True)
    along = jnp.sum(gradient * (wide - stored(mean)), axes, keepdims=True) * factor
    inner = gradient - total / count - (wide - stored(mean)) * (factor * along / count)
    return (scale * factor * inner).astype(x.dtype), _sum_to(along, scale.shape), _sum_to(total, bias.shape)


def _sum_to(values: Array, shape: tuple[int, ...]) -> Array:
    """Sums over axes that have size 1 in a shape of as many axes: those of groups."""
    longer = tuple(i for i, (a, b) in enumerate(zip(values.shape, shape, strict=True)) if a != b)
    return jnp.sum(values, longer, keepdims=True)


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


@jax.custom_vjp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Gaussian error linear unit, x/2 (1 + erf(x / sqrt 2)), computed in float32 or above.

    Its gradient computes the error function once more rather than keep parts of it.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (wide * _normal_below(wide)).astype(x.dtype)


def _normal_below(x: Array) -> Array:
    """Probability that a normal variable is below x."""
    return 0.5 + 0.5 * jax.lax.erf(x * jnp.asarray(math.sqrt(0.5), x.dtype))


def _gelu_backward(x: Array, gradient: Array) -> tuple[Array]:
    wide = hidden(x).astype(jnp.promote_types(x.dtype, jnp.float32))
    density = jnp.exp(-0.5 * jnp.square(wide)) * jnp.asarray(1.0 / math.sqrt(2.0 * math.pi), wide.dtype)
    return ((gradient * (_normal_below(wide) + wide * density)).astype(x.dtype),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*batch C"], scale: Float[Array, " C"], bias: Float[Array, " C"], eps: float
) -> Float[Array, "*batch C"]:
    """Normalises each vector by its mean and biased variance.

    The gradient is the closed form, of the vectors themselves: nothing else of their size is kept.

    Args:
        x: vectors.
        scale, bias: of each element; their number format is that of the statistics and of the result.
        eps: added to the variance.
    """
    wide = x.astype(scale.dtype)
    mean = jnp.mean(wide, -1, keepdims=True)
    factor = jax.lax.rsqrt(jnp.mean(jnp.square(wide - mean), -1, keepdims=True) + eps)
    return (wide - mean) * factor * scale + bias


def _layer_norm_forward(x: Array, scale: Array, bias: Array, eps: float) -> Any:
    wide = x.astype(scale.dtype)
    # Stored, because CPUs would broadcast them to the size of x.
    mean = stored(jnp.mean(wide, -1, keepdims=True))
    factor = stored(jax.lax.rsqrt(jnp.mean(jnp.square(wide - mean), -1, keepdims=True) + eps))
    return (wide - mean) * factor * scale + bias, (x, mean, factor, scale)


def _layer_norm_backward(eps: float, kept: Any, gradient: Array) -> Any:
    x, mean, factor, scale = kept
    mean, factor = hidden(mean), hidden(factor)
    wide, inner = x.astype(scale.dtype), gradient * scale
    vectors = tuple(range(x.ndim - 1))
    total = stored(jnp.mean(inner, -1, keepdims=True))
    along = stored(jnp.mean(inner * ((wide - mean) * factor), -1, keepdims=True))
    of_x = factor * (inner - total - (wide - mean) * factor * along)
    of_scale = jnp.sum((wide - mean) * factor * gradient, vectors)
    return of_x.astype(x.dtype), of_scale, jnp.sum(gradient, vectors)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)
