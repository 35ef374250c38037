"""Layers shared by the backbones and the MDHR modules.

They compute what PyTorch's layers of the same name compute, with its default initialisation, on
channels-last arrays. Parameters are kept in `param_dtype`; arithmetic runs in `dtype` (float32,
float64 or bfloat16), statistics never below float32.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from mdhr_jax.models import operations

Initializer = Callable[[PRNGKeyArray, tuple[int, ...], Any], Array]


@dataclasses.dataclass(frozen=True)
class Precision:
    """Number formats of a model.

    Attributes:
        dtype: format of activations and matrix products.
        param_dtype: format in which parameters and running statistics are kept.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def statistics(self) -> Any:
        """Format of means, variances, softmax and normalisation: at least float32."""
        return jnp.promote_types(self.dtype, jnp.float32)


def uniform(bound: float) -> Initializer:
    """Uniform within +-bound."""

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def uniform_fan_in(fan_in: int) -> Initializer:
    """Uniform within 1/sqrt(fan_in): PyTorch's default for weights and biases alike."""
    return uniform(1.0 / math.sqrt(fan_in))


def xavier_uniform(fan_in: int, fan_out: int) -> Initializer:
    """Uniform within sqrt(6 / (fan_in + fan_out))."""
    return uniform(math.sqrt(6.0 / (fan_in + fan_out)))


def normal(std: float) -> Initializer:
    """Normal with mean 0 and the given standard deviation."""

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Array:
        return jnp.asarray(std, dtype) * jax.random.normal(key, shape, dtype)

    return init


def truncated_normal(std: float, cut: float) -> Initializer:
    """Normal cut off at an absolute value (not at a number of standard deviations)."""

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Array:
        draw = jax.random.truncated_normal(key, -cut / std, cut / std, shape, dtype)
        return jnp.asarray(std, dtype) * draw

    return init


def zeros(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Array:
    """All zero."""
    return jnp.zeros(shape, dtype)


class Linear(nnx.Module):
    """Affine map of the last axis.

    Args:
        in_features, out_features: widths.
        use_bias: whether a bias is added.
        kernel_init, bias_init: initialisers; PyTorch's defaults where not given.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.dtype = precision.dtype
        default = uniform_fan_in(in_features)
        shape = (in_features, out_features)
        self.kernel = nnx.Param((kernel_init or default)(rngs.params(), shape, precision.param_dtype))
        self.bias = (
            nnx.Param((bias_init or default)(rngs.params(), (out_features,), precision.param_dtype))
            if use_bias
            else None
        )

    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch D"]:
        """Applies the map."""
        bias = None if self.bias is None else self.bias[...].astype(self.dtype)
        mapped: Any = operations.product(x.astype(self.dtype), self.kernel[...].astype(self.dtype), bias)
        return mapped


class Conv(nnx.Module):
    """Convolution of channels-last maps with explicit symmetric zero padding, as in PyTorch.

    (XLA's ``SAME`` pads stride-2 convolutions on one side only.) Kernels of 1 and kernels that equal
    their stride need no convolution: each output reads a patch of its own, so they are written as
    matrix products, which XLA runs faster on CPU and at least as fast on accelerators.

    Args:
        in_channels, out_channels: widths.
        kernel_size: edge of the square kernel in pixels.
        stride: step in pixels.
        padding: zeros added on each side.
        use_bias: whether a bias is added.
        kernel_init: initialiser; by default normal with variance 2 / (kernel area x out_channels),
            the reference's. The bias, and the kernel where `uniform_fan_in` is given, follow PyTorch.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        use_bias: bool = False,
        kernel_init: Initializer | None = None,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.dtype = precision.dtype
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        area = kernel_size * kernel_size
        kernel_init = kernel_init or normal(math.sqrt(2.0 / (area * out_channels)))
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, precision.param_dtype))
        bias_init = uniform_fan_in(area * in_channels)
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (out_channels,), precision.param_dtype)) if use_bias else None
        )

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """Convolves each map."""
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        size, stride = self.kernel_size, self.stride
        if size == 1 and not self.padding:
            y = operations.product(x[:, ::stride, ::stride], kernel[0, 0])
        elif size == stride and not self.padding:
            batch, height, width, channels = x.shape
            patches = operations.stored(x).reshape(
                batch, height // size, size, width // size, size * channels
            )
            patches = patches.transpose(0, 1, 3, 2, 4).reshape(batch, height // size, width // size, -1)
            y = operations.product(patches, kernel.reshape(-1, kernel.shape[-1]))
        else:
            pad = (self.padding, self.padding)
            y = jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), (pad, pad), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            y = operations.gradient_stored(y)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


class BatchNorm(nnx.Module):
    """Batch normalisation with PyTorch's statistics.

    Normalises with the biased variance of the batch and keeps the *unbiased* one
    (new = (1 - momentum) old + momentum batch). Under `jax.jit` over several devices the statistics
    are those of the whole batch. `train()` and `eval()` of the module switch between batch and
    running statistics.

    With `groups` set, the first axis is cut into so many equal parts that are normalised on their own,
    and the running statistics are those of the first part: what PyTorch's ``DataParallel`` does on as
    many GPUs, however many devices there are here.

    Args:
        features: size of the feature axis.
        axis: the feature axis, not the first; statistics are taken over all others.
    """

    eps = 1e-5
    momentum = 0.1

    def __init__(self, features: int, *, axis: int = -1, precision: Precision):
        self.axis = axis
        self.dtype, self.statistics = precision.dtype, precision.statistics
        self.use_running_average = False
        self.groups = 1
        self.scale = nnx.Param(jnp.ones((features,), precision.param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), precision.param_dtype))
        self.mean = nnx.BatchStat(jnp.zeros((features,), precision.param_dtype))
        self.var = nnx.BatchStat(jnp.ones((features,), precision.param_dtype))
        self.num_batches = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Normalises; in training mode also updates the running statistics.

        Raises:
            ValueError: in training mode, the first axis cannot be cut into the groups.
        """
        feature_axis = self.axis % x.ndim
        shape = [1] * x.ndim
        shape[feature_axis] = x.shape[feature_axis]
        scale, bias = (param[...].astype(self.statistics).reshape(shape) for param in (self.scale, self.bias))
        if self.use_running_average:
            mean, var = (stat[...].astype(self.statistics).reshape(shape) for stat in (self.mean, self.var))
            wide = x.astype(self.statistics)
            normalised = (wide - mean) * (scale * jax.lax.rsqrt(var + self.eps)) + bias
        elif self.groups == 1:
            normalised = self._by_batch(x, feature_axis, scale, bias)
        else:
            if x.shape[0] % self.groups:
                raise ValueError(
                    f"a batch of {x.shape[0]} cannot be normalised in {self.groups} equal groups"
                )
            parts = x.reshape(self.groups, -1, *x.shape[1:])
            normalised = self._by_batch(parts, feature_axis + 1, scale[None], bias[None]).reshape(x.shape)
        return normalised.astype(self.dtype)

    def _by_batch(
        self,
        x: Float[Array, "*shape"],
        feature_axis: int,
        scale: Float[Array, "..."],
        bias: Float[Array, "..."],
    ) -> Float[Array, "*shape"]:
        """Normalises with statistics of the batch, of each group where they lead, and keeps the first's."""
        kept = {feature_axis} if self.groups == 1 else {0, feature_axis}
        others = tuple(axis for axis in range(x.ndim) if axis not in kept)
        found: Any = operations.batch_norm(x, scale, bias, others, self.eps)
        normalised, mean, var = found
        # One value has no unbiased variance; torch refuses such a batch, here the biased one stands in.
        count = math.prod(x.shape[axis] for axis in others)
        unbiased = var * (count / max(count - 1, 1))
        for stat, new in ((self.mean, mean), (self.var, unbiased)):
            old = stat[...]
            first = new.reshape(-1, *old.shape)[0]
            stat[...] = (1 - self.momentum) * old + self.momentum * first.astype(old.dtype)
        self.num_batches[...] = self.num_batches[...] + 1
        return normalised


class InstanceNorm(nnx.Module):
    """Normalises each channel over the positions of each image; no statistics are kept."""

    eps = 1e-5

    def __init__(self, features: int, *, precision: Precision):
        self.dtype, self.statistics = precision.dtype, precision.statistics
        self.scale = nnx.Param(jnp.ones((features,), precision.param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), precision.param_dtype))

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Normalises each image."""
        x = x.astype(self.statistics)
        centred = x - x.mean((1, 2), keepdims=True)
        var = jnp.mean(jnp.square(centred), (1, 2), keepdims=True)
        y = centred * jax.lax.rsqrt(var + self.eps) * self.scale[...].astype(self.statistics)
        return (y + self.bias[...].astype(self.statistics)).astype(self.dtype)


class LayerNorm(nnx.Module):
    """Layer normalisation of the last axis, eps 1e-5."""

    eps = 1e-5

    def __init__(self, features: int, *, precision: Precision):
        self.dtype, self.statistics = precision.dtype, precision.statistics
        self.scale = nnx.Param(jnp.ones((features,), precision.param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), precision.param_dtype))

    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
        """Normalises each vector."""
        scale, bias = (param[...].astype(self.statistics) for param in (self.scale, self.bias))
        normalised: Any = operations.layer_norm(x, scale, bias, self.eps)
        return normalised.astype(self.dtype)


class LinearBlock(nnx.Module):
    """Linear layer, batch normalisation and ReLU on tokens (reference specification, section 3).

    Several blocks that read the same tokens are one block of their summed width: normalisation is
    per channel, so nothing mixes. `blocks` says how many, which matters for the initial scale only.

    Args:
        in_features: width of the tokens.
        out_features: width of each block.
        blocks: number of blocks side by side.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        blocks: int = 1,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.linear = Linear(
            in_features,
            blocks * out_features,
            kernel_init=normal(math.sqrt(2.0 / out_features)),
            precision=precision,
            rngs=rngs,
        )
        self.norm = BatchNorm(blocks * out_features, precision=precision)

    def __call__(self, x: Float[Array, "B S C"]) -> Float[Array, "B S D"]:
        """Maps each token; D is all blocks side by side."""
        return jax.nn.relu(self.norm(self.linear(x)))


class DropPath(nnx.Module):
    """Stochastic depth: drops a residual branch for a whole image with probability `rate`.

    Active in `train()` mode only, and only where a key is given.
    """

    def __init__(self, rate: float):
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"stochastic depth rate must be in [0, 1), found {rate}")
        self.rate = rate
        self.deterministic = False

    def __call__(self, x: Float[Array, "B *rest"], rng: PRNGKeyArray | None) -> Float[Array, "B *rest"]:
        """Drops or rescales the branch of each image; passes it on unchanged without a key."""
        if self.rate == 0.0 or self.deterministic or rng is None:
            return x
        keep = 1.0 - self.rate
        kept = jax.random.bernoulli(rng, keep, (x.shape[0],) + (1,) * (x.ndim - 1))
        return jnp.where(kept, x / jnp.asarray(keep, x.dtype), jnp.zeros((), x.dtype))
