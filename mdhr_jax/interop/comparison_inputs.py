"""What both sides of a comparison are given: weights, clips and labels that anyone can regenerate.

Reference specification, section 11.
"""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64, Int8

from mdhr_jax import facs
from mdhr_jax.interop.torch_weights import IMAGE_SIZE, Tensors

_PIXEL = 8
"""Edge in pixels of the squares that a clip is made of."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index", "attn_mask")
"""Last parts of the names of PyTorch's tensors that are not parameters."""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Clips with labels.

    Attributes:
        au_set: the AUs.
        clips: normalised RGB, channels last.
        labels: 0 or 1.
        au_weights: of the loss.
    """

    au_set: facs.AUSet
    clips: Float[np.ndarray, "B T H W 3"]
    labels: Int8[np.ndarray, "B T N"]
    au_weights: Float64[np.ndarray, " N"]

    @property
    def num_frames(self) -> int:
        """Frames of all clips."""
        return self.clips.shape[0] * self.clips.shape[1]


def pseudo_random(tag: str, shape: tuple[int, ...]) -> Float64[np.ndarray, "*shape"]:
    """Numbers in [-1, 1) that follow from a text alone."""
    raw = np.random.PCG64(zlib.crc32(tag.encode())).random_raw(int(np.prod(shape)))
    bits = np.asarray(raw, np.uint64) >> np.uint64(11)
    return (bits.astype(np.float64) * 2.0**-53 * 2 - 1).reshape(shape)


def parameter_values(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Values of PyTorch's parameters, float64, by name; buffers are left out.

    Matrices and kernels are uniform with variance 2 / fan-in, scales lie around 1, biases around 0.
    """
    values: Tensors = {}
    for name, shape in shapes.items():
        if name.endswith(BUFFERS):
            continue
        numbers = pseudo_random(name, shape)
        if len(shape) >= 2:
            values[name] = numbers * np.sqrt(6 / np.prod(shape[1:]))
        else:
            values[name] = 1 + 0.2 * numbers if name.endswith("weight") else 0.1 * numbers
    return values


def make_inputs(au_set: facs.AUSet, batch: int, clip_length: int, seed: int) -> Inputs:
    """Clips of coloured squares that partly change from frame to frame, and labels.

    Args:
        au_set: the AUs.
        batch: clips.
        clip_length: frames of a clip.
        seed: other seeds give other clips and labels.
    """
    tag = f"compare-{seed}/{au_set.title}"
    squares = IMAGE_SIZE // _PIXEL
    still = pseudo_random(f"{tag}/still", (batch, 1, squares, squares, 3))
    move = pseudo_random(f"{tag}/move", (batch, clip_length, squares, squares, 3))
    clips = (1.5 * still + 0.5 * move).repeat(_PIXEL, 2).repeat(_PIXEL, 3)
    labels = pseudo_random(f"{tag}/labels", (batch, clip_length, au_set.num_aus)) > 0.3
    weights = 1 + 0.5 * pseudo_random(f"auweight/{au_set.title}", (au_set.num_aus,))
    return Inputs(au_set, clips, labels.astype(np.int8), weights)


def rounded(values: Mapping[str, np.ndarray]) -> Tensors:
    """The same tensors in float32; counters stay whole numbers."""
    return {
        name: value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        for name, value in values.items()
    }
