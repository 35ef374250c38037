"""Multi-scale facial dynamics (MFD): what changes between neighbouring frames, at four spatial scales.

Paper, section 3.1; reference specification, section 4.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from mdhr_jax.facs import Variant
from mdhr_jax.models.layers import BatchNorm, Conv, Precision

Fusion = Literal["adaptive", "sum", "concat"]

NUM_SCALES = 4
_SQUEEZED = 16


@jax.vmap
def temporal_differences(clip: Float[Array, "T H W C"]) -> Float[Array, "T-1 H W C"]:
    """Differences of neighbouring frames of each clip, each named by its later frame (Eq. 1).

    Vmapped: takes and returns arrays with a leading axis of clips.
    """
    return clip[1:] - clip[:-1]


def repeat_ends(clips: Float[Array, "B T H W C"], count: int) -> Float[Array, "B padded H W C"]:
    """Puts `count` copies of the first and last frame before and behind each clip (paper, section 4.1)."""
    return jnp.pad(clips, ((0, 0), (count, count), (0, 0), (0, 0), (0, 0)), mode="edge")


def average_neighbours(
    differences: Float[Array, "B D h w C"], num_frames: int, neighbors: int
) -> Float[Array, "B T h w C"]:
    """Mean over the 2k differences around each frame (Eq. 3).

    Frame t gets the differences named t-k+1 ... t+k. Those beyond the clip count as zeros, and the sum
    is always divided by 2k.

    Args:
        differences: of the clip itself (D = T-1) or of one with k repeated frames at both ends
            (D = T-1+2k), where none is missing.
        num_frames: T.
        neighbors: k, in frames.
    """
    # As a product with a constant band matrix: one small matrix multiplication on every device.
    missing = num_frames - 1 + 2 * neighbors - differences.shape[1]
    first = np.arange(num_frames)[:, None] - missing // 2
    position = np.arange(differences.shape[1])[None]
    band = ((position >= first) & (position < first + 2 * neighbors)) / (2 * neighbors)
    return jnp.einsum("td,bdhwc->bthwc", jnp.asarray(band, differences.dtype), differences)


class MultiScaleDynamics(nnx.Module):
    """Temporal differencing, resizing convolutions, temporal pooling and adaptive weighting.

    Args:
        scale_width: c, channels of the backbone's first scale; scale l has 2^(l-1) c.
        width: channels of the result in the reference variant; the paper's keeps 8c.
        neighbors: k, frames looked at on either side.
        scales: which of the scales 1 (finest) to 4 are used; at least one.
        fusion: ``adaptive`` weights per position and scale (Eq. 4-5), plain ``sum``, or ``concat``
            along channels followed by a 1x1 convolution.
        variant: ``reference`` squeezes each scale to 16 channels before the joint weights, pads clips
            with zeros after the convolutions, and projects the sum to `width`; ``paper`` computes the
            weights from the concatenated maps, repeats the first and last frame k times, and projects
            nothing.
    """

    def __init__(
        self,
        scale_width: int,
        width: int,
        *,
        neighbors: int,
        scales: tuple[int, ...],
        fusion: Fusion,
        variant: Variant,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        common = {"precision": precision, "rngs": rngs}
        map_width = 8 * scale_width
        self.neighbors, self.scales, self.fusion, self.variant = neighbors, scales, fusion, variant
        self.statistics = precision.statistics
        self.convs = nnx.List(
            Conv(
                scale_width * 2 ** (scale - 1),
                map_width,
                2 ** (NUM_SCALES - scale),
                stride=2 ** (NUM_SCALES - scale),
                use_bias=True,
                **common,
            )
            for scale in scales
        )
        self.norms = nnx.List(BatchNorm(map_width, precision=precision) for _ in scales)

        # The weights of a single scale are 1 whatever the features.
        self.weighted = fusion == "adaptive" and len(scales) > 1
        if self.weighted:
            weight_inputs = len(scales) * (_SQUEEZED if variant == "reference" else map_width)
            if variant == "reference":
                self.squeeze_convs = nnx.List(
                    Conv(map_width, _SQUEEZED, 1, use_bias=True, **common) for _ in scales
                )
                self.squeeze_norms = nnx.List(BatchNorm(_SQUEEZED, precision=precision) for _ in scales)
            self.weight_conv = Conv(weight_inputs, len(scales), 1, use_bias=True, **common)

        fused_width = map_width * (len(scales) if fusion == "concat" else 1)
        reference = variant == "reference"
        self.projection = (
            Conv(fused_width, width if reference else map_width, 1, use_bias=True, **common)
            if reference or fusion == "concat"
            else None
        )
        self.projection_norm = BatchNorm(width, precision=precision) if reference else None

    def __call__(self, scales: tuple[Float[Array, "B T _ _ _"], ...]) -> Float[Array, "B T h w D"]:
        """Dynamic features of each frame.

        Args:
            scales: the backbone's four maps of every frame, finest first.
        """
        pooled = self.pool(scales)
        logits = self.weight_logits(pooled) if self.weighted else None
        return self.project(self.fuse(pooled, logits))

    def pool(self, scales: tuple[Float[Array, "B T _ _ _"], ...]) -> list[Float[Array, "B T h w C"]]:
        """Differences of each used scale, resized to the final map and averaged over time (Eq. 1-3)."""
        pooled = []
        for place, scale in enumerate(self.scales):
            clips = scales[scale - 1]
            num_frames = clips.shape[1]
            if self.variant == "paper":
                clips = repeat_ends(clips, self.neighbors)
            resized = self.resize(place, temporal_differences(clips))
            pooled.append(average_neighbours(resized, num_frames, self.neighbors))
        return pooled

    def resize(self, place: int, differences: Float[Array, "B D H W C"]) -> Float[Array, "B D h w D8"]:
        """Differences of one scale at the size of the final map: convolution, normalisation, ReLU.

        Args:
            place: of the scale among those that are used.
            differences: of its maps.
        """
        batch, steps = differences.shape[:2]
        resized = self.convs[place](differences.reshape(batch * steps, *differences.shape[2:]))
        resized = jax.nn.relu(self.norms[place](resized))
        return resized.reshape(batch, steps, *resized.shape[1:])

    def weight_logits(self, pooled: list[Float[Array, "B T h w C"]]) -> Float[Array, "B T h w L"]:
        """What the adaptive weights of the scales at every position are the softmax of (Eq. 4)."""
        batch, frames, height, width, _ = pooled[0].shape
        maps = [x.reshape(batch * frames, height, width, -1) for x in pooled]
        if self.variant == "reference":
            maps = [
                jax.nn.relu(norm(conv(x)))
                for x, conv, norm in zip(maps, self.squeeze_convs, self.squeeze_norms, strict=True)
            ]
        logits = self.weight_conv(jnp.concatenate(maps, axis=-1))
        return logits.reshape(batch, frames, height, width, -1)

    def weights(self, logits: Float[Array, "B T h w L"]) -> Float[Array, "B T h w L"]:
        """Adaptive weights; they sum to 1 over the scales (Eq. 4)."""
        return jax.nn.softmax(logits.astype(self.statistics), axis=-1).astype(logits.dtype)

    def fuse(
        self, pooled: list[Float[Array, "B T h w C"]], logits: Float[Array, "B T h w L"] | None
    ) -> Float[Array, "B T h w D"]:
        """The scales as one map (Eq. 5).

        Args:
            pooled: of each scale.
            logits: of the adaptive weights; None where there are none.
        """
        if self.fusion == "concat":
            return jnp.concatenate(pooled, axis=-1)
        if logits is None:
            return sum(pooled[1:], start=pooled[0])
        weights = self.weights(logits)
        terms = [x * weights[..., i, None] for i, x in enumerate(pooled)]
        return sum(terms[1:], start=terms[0])

    def project(self, fused: Float[Array, "B T h w D"]) -> Float[Array, "B T h w E"]:
        """The fused map at the width of the result."""
        if self.projection is None:
            return fused
        batch, frames, height, width, _ = fused.shape
        projected = self.projection(fused.reshape(batch * frames, height, width, -1))
        if self.projection_norm is not None:
            projected = jax.nn.relu(self.projection_norm(projected))
        return projected.reshape(batch, frames, height, width, -1)
