"""Swin transformer (patch 4, window 7), pre-norm, with relative position bias.

Reference specification, section 2. The windows are 7 pixels wide at every stage, so that inputs must
be multiples of 224 pixels.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mdhr_jax.models import operations
from mdhr_jax.models.attention import attend
from mdhr_jax.models.backbone import BackboneFeatures
from mdhr_jax.models.layers import (
    Conv,
    DropPath,
    LayerNorm,
    Linear,
    Precision,
    truncated_normal,
    uniform_fan_in,
    zeros,
)

WINDOW = 7
SHIFT = WINDOW // 2
_MASKED = -100.0
_WEIGHT_INIT = truncated_normal(0.02, cut=2.0)


@dataclasses.dataclass(frozen=True)
class SwinConfig:
    """Size of a Swin transformer.

    Attributes:
        depths: blocks of each stage.
        heads: attention heads of each stage.
        width: channels of the first stage; doubled from stage to stage.
        drop_path: largest stochastic-depth rate; it rises linearly over the blocks from 0.
    """

    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    width: int
    drop_path: float

    @property
    def scale_width(self) -> int:
        """Channels of the first scale."""
        return self.width

    @staticmethod
    def base() -> "SwinConfig":
        """Swin-B, the reference's."""
        return SwinConfig((2, 2, 18, 2), (4, 8, 16, 32), width=128, drop_path=0.5)

    @staticmethod
    def tiny() -> "SwinConfig":
        """Swin-T."""
        return SwinConfig((2, 2, 6, 2), (3, 6, 12, 24), width=96, drop_path=0.2)


def relative_position_index() -> Int[np.ndarray, "49 49"]:
    """Row of the bias table for each pair of positions in a window: (dy + 6) * 13 + (dx + 6)."""
    y, x = np.divmod(np.arange(WINDOW * WINDOW), WINDOW)
    dy, dx = y[:, None] - y[None], x[:, None] - x[None]
    return (dy + WINDOW - 1) * (2 * WINDOW - 1) + dx + WINDOW - 1


def shift_mask(height: int, width: int) -> Float[np.ndarray, "windows 49 49"]:
    """Attention mask of shifted windows: -100 between pixels that are neighbours only by rolling."""

    def zone(size: int) -> Int[np.ndarray, " size"]:
        positions = np.arange(size)
        return (positions >= size - WINDOW).astype(np.int32) + (positions >= size - SHIFT)

    zones = zone(height)[:, None] * 3 + zone(width)[None]
    windows = zones.reshape(height // WINDOW, WINDOW, width // WINDOW, WINDOW)
    windows = windows.transpose(0, 2, 1, 3).reshape(-1, WINDOW * WINDOW)
    return np.where(windows[:, :, None] == windows[:, None, :], 0.0, _MASKED).astype(np.float32)


class WindowAttention(nnx.Module):
    """Multi-head self-attention inside windows."""

    def __init__(self, width: int, heads: int, *, precision: Precision, rngs: nnx.Rngs):
        self.heads, self.statistics = heads, precision.statistics
        dense = {"kernel_init": _WEIGHT_INIT, "bias_init": zeros, "precision": precision, "rngs": rngs}
        self.qkv = Linear(width, 3 * width, **dense)
        self.proj = Linear(width, width, **dense)
        table = ((2 * WINDOW - 1) ** 2, heads)
        self.bias_table = nnx.Param(_WEIGHT_INIT(rngs.params(), table, precision.param_dtype))

    def __call__(
        self,
        windows: Float[Array, "B W S C"],
        mask: Float[np.ndarray, "W S S"] | None,
    ) -> Float[Array, "B W S C"]:
        """Mixes the S tokens of each of the W windows of an image."""
        batch, count, tokens, width = windows.shape
        qkv = self.qkv(windows).reshape(batch, count, tokens, 3, self.heads, width // self.heads)
        bias = self.bias_table[...][relative_position_index().reshape(-1)]
        bias = bias.reshape(tokens, tokens, self.heads).transpose(2, 0, 1).astype(self.statistics)
        mixed = attend(qkv, bias, None if mask is None else jnp.asarray(mask, self.statistics))
        return self.proj(mixed.reshape(batch, count, tokens, width))


class SwinBlock(nnx.Module):
    """Window attention and a two-layer perceptron, each with a residual connection."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        shifted: bool,
        drop_path: float,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.shifted = shifted
        dense = {"kernel_init": _WEIGHT_INIT, "bias_init": zeros, "precision": precision, "rngs": rngs}
        self.norm1 = LayerNorm(width, precision=precision)
        self.attention = WindowAttention(width, heads, precision=precision, rngs=rngs)
        self.norm2 = LayerNorm(width, precision=precision)
        self.fc1 = Linear(width, 4 * width, **dense)
        self.fc2 = Linear(4 * width, width, **dense)
        self.drop_path = DropPath(drop_path)

    def __call__(self, x: Float[Array, "B H W C"], rng: PRNGKeyArray | None) -> Float[Array, "B H W C"]:
        """Both branches; the key is for the stochastic depth."""
        attention_key, mlp_key = (None, None) if rng is None else jax.random.split(rng)
        x = x + self.drop_path(self._attend(self.norm1(x)), attention_key)
        hidden = operations.gelu(self.fc1(self.norm2(x)))
        return x + self.drop_path(self.fc2(hidden), mlp_key)

    def _attend(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        batch, height, width, channels = x.shape
        # A map of one window has nothing to shift.
        shifted = self.shifted and min(height, width) > WINDOW
        if shifted:
            x = jnp.roll(x, (-SHIFT, -SHIFT), (1, 2))
        rows, columns = height // WINDOW, width // WINDOW
        x = x.reshape(batch, rows, WINDOW, columns, WINDOW, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, rows * columns, WINDOW * WINDOW, channels)
        x = self.attention(x, shift_mask(height, width) if shifted else None)
        x = x.reshape(batch, rows, columns, WINDOW, WINDOW, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, height, width, channels)
        return jnp.roll(x, (SHIFT, SHIFT), (1, 2)) if shifted else x


class PatchMerging(nnx.Module):
    """Halves the map and doubles the width: 2x2 neighbours concatenated, LayerNorm, linear."""

    def __init__(self, width: int, *, precision: Precision, rngs: nnx.Rngs):
        self.norm = LayerNorm(4 * width, precision=precision)
        self.reduction = Linear(
            4 * width,
            2 * width,
            use_bias=False,
            kernel_init=_WEIGHT_INIT,
            precision=precision,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """Merges each 2x2 of neighbours."""
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(jnp.concatenate(parts, axis=-1)))


class Swin(nnx.Module):
    """Swin transformer without its classifier.

    Args:
        config: size.
        last_scale: the fourth scale is the ``input`` of the last stage (the reference code, which
            takes the inputs of all four stages) or the ``output`` layer (the paper).
        remat: stages, from 1, whose blocks compute their inside again in the backward pass instead of
            keeping it.
    """

    size_multiple = 32 * WINDOW

    def __init__(
        self,
        config: SwinConfig,
        *,
        last_scale: Literal["input", "output"],
        remat: tuple[int, ...] = (),
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        self.scale_width = config.width
        self.last_scale, self.remat = last_scale, remat
        self.patch_embed = Conv(
            3,
            config.width,
            4,
            stride=4,
            use_bias=True,
            kernel_init=uniform_fan_in(3 * 4 * 4),
            precision=precision,
            rngs=rngs,
        )
        self.patch_norm = LayerNorm(config.width, precision=precision)
        rates = np.linspace(0.0, config.drop_path, sum(config.depths))
        stages, mergings, block_index = [], [], 0
        for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            width, blocks = config.width * 2**stage, []
            for block in range(depth):
                blocks.append(
                    SwinBlock(
                        width,
                        heads,
                        shifted=block % 2 == 1,
                        drop_path=float(rates[block_index]),
                        precision=precision,
                        rngs=rngs,
                    )
                )
                block_index += 1
            stages.append(nnx.List(blocks))
            if stage < 3:
                mergings.append(PatchMerging(width, precision=precision, rngs=rngs))
        self.stages, self.mergings = nnx.List(stages), nnx.List(mergings)
        self.norm = LayerNorm(config.width * 8, precision=precision)

    def __call__(self, images: Float[Array, "B H W 3"], rng: PRNGKeyArray | None = None) -> BackboneFeatures:
        """Features of normalised images; the key is for the stochastic depth."""
        x = self.patch_norm(self.patch_embed(images))
        scales, block_index = [], 0
        for stage, blocks in enumerate(self.stages):
            scales.append(x)
            for block in blocks:
                key = None if rng is None else jax.random.fold_in(rng, block_index)
                x = nnx.remat(SwinBlock.__call__)(block, x, key) if stage + 1 in self.remat else block(x, key)
                block_index += 1
            if stage < len(self.mergings):
                x = self.mergings[stage](x)
        final = self.norm(x)
        if self.last_scale == "output":
            scales[-1] = final
        return BackboneFeatures(tuple(scales), final)
