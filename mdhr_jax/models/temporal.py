"""Temporal convolution of each AU's vectors and the similarity classifier.

Reference specification, section 7.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mdhr_jax.models.layers import BatchNorm, Precision, uniform_fan_in, xavier_uniform


class TemporalConv(nnx.Module):
    """A depthwise convolution over time for every AU, batch normalisation per AU, ReLU.

    Kernel of 5 frames, zeros beyond the clip. Normalisation takes its statistics over clips, frames and
    the features of an AU.

    Args:
        num_aus: N.
        width: D, length of an AU vector.
    """

    kernel_size = 5

    def __init__(self, num_aus: int, width: int, *, precision: Precision, rngs: nnx.Rngs):
        self.dtype = precision.dtype
        # One filter a channel: PyTorch counts the kernel alone as fan-in.
        init = uniform_fan_in(self.kernel_size)
        shape = (self.kernel_size, num_aus, width)
        self.kernel = nnx.Param(init(rngs.params(), shape, precision.param_dtype))
        self.bias = nnx.Param(init(rngs.params(), shape[1:], precision.param_dtype))
        self.norm = BatchNorm(num_aus, axis=2, precision=precision)

    def __call__(self, vectors: Float[Array, "B T N D"]) -> Float[Array, "B T N D"]:
        """Filters each AU's vectors over the T frames of a clip."""
        reach = self.reach
        return self.filter(jnp.pad(vectors, ((0, 0), (reach, reach), (0, 0), (0, 0))))

    @property
    def reach(self) -> int:
        """Frames on either side that a frame's result depends on."""
        return self.kernel_size // 2

    def filter(self, vectors: Float[Array, "B padded N D"]) -> Float[Array, "B T N D"]:
        """Filters vectors of T frames that have `reach` more on either side."""
        vectors = vectors.astype(self.dtype)
        frames = vectors.shape[1] - 2 * self.reach
        kernel = self.kernel[...].astype(self.dtype)
        terms = [vectors[:, i : i + frames] * kernel[i] for i in range(self.kernel_size)]
        return jax.nn.relu(self.norm(sum(terms[1:], start=terms[0]) + self.bias[...].astype(self.dtype)))


def normalize(x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """Scales to unit Euclidean length; vectors shorter than 1e-12 are divided by that instead."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    # The square root has no gradient at zero, where torch takes it to be zero.
    length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    return x / jnp.maximum(length, 1e-12)


class SimilarityClassifier(nnx.Module):
    """Score of an AU: cosine similarity of its vector and the ReLU of a learned one.

    In [0, 1] for vectors without negative elements.
    """

    def __init__(self, num_aus: int, width: int, *, precision: Precision, rngs: nnx.Rngs):
        self.statistics = precision.statistics
        init = xavier_uniform(width, num_aus)
        self.prototypes = nnx.Param(init(rngs.params(), (num_aus, width), precision.param_dtype))

    def __call__(self, vectors: Float[Array, "B T N D"]) -> Float[Array, "B T N"]:
        """Scores of every frame."""
        prototypes = normalize(jax.nn.relu(self.prototypes[...].astype(self.statistics)))
        return jnp.sum(normalize(vectors.astype(self.statistics)) * prototypes, axis=-1)
