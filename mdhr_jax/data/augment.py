"""Crop, flip, colour jitter and normalisation of clips, on the device.

The arithmetic is Pillow's (`ImageEnhance`, `Image.convert("L")`, `Image.resize`), which the reference
trains with: every step ends in 8 bits. It is done in integers here, so that every device, compiled or
not, gives the same grey levels as Pillow.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, UInt8

from mdhr_jax.data.clips import CROP_MARGIN, FACTOR_STEPS, resized_edge

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_RESIZE_BITS = 22
"""Fraction bits of Pillow's resize coefficients for 8-bit images."""

# Weights of red, green and blue in Pillow's grey, in 1 / 65536.
_GREY = (19595, 38470, 7471)


def augment_clips(
    frames: UInt8[Array, "B T L L 3"],
    offset: Int[Array, "B 2"],
    flip: Bool[Array, "B"],
    factors: Float[Array, "B 3"],
    *,
    image_size: int,
    crop_margin: int = CROP_MARGIN,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "B T S S 3"]:
    """The training augmentation, one draw per clip.

    Resize, crop, flip, brightness, contrast, saturation, each as Pillow does it, then normalisation
    with ImageNet's mean and deviation.

    Args:
        frames: RGB grey levels as decoded.
        offset: y and x of the crop, in pixels of the resized frame.
        flip: whether left and right are exchanged.
        factors: brightness, contrast and saturation, 1 changing nothing; taken as multiples of 2^-14,
            which the draws are (any others come within one grey level of Pillow).
        image_size: S, the edge in pixels that the model takes.
        crop_margin: what the crop leaves out, in pixels of a frame of 256.
        dtype: of the result.

    Raises:
        ValueError: the frames would have to be enlarged.
    """
    pixels = _resize(frames, resized_edge(image_size, crop_margin))

    def crop(clip: Array, corner: Array) -> Array:
        size = (clip.shape[0], image_size, image_size, 3)
        return jax.lax.dynamic_slice(
            clip, (jnp.zeros_like(corner[0]), corner[0], corner[1], jnp.zeros_like(corner[0])), size
        )

    pixels = jax.vmap(crop)(pixels, offset.astype(jnp.int32))
    pixels = jnp.where(_per_clip(flip), pixels[:, :, :, ::-1], pixels).astype(jnp.int32)
    steps = jnp.round(factors.astype(jnp.float32) * FACTOR_STEPS).astype(jnp.int32)
    pixels = _blend(jnp.zeros_like(pixels), pixels, steps[:, 0])
    total = _grey(pixels).sum((2, 3), keepdims=True, dtype=jnp.int32)
    area = image_size * image_size
    pixels = _blend((2 * total + area) // (2 * area), pixels, steps[:, 1])
    pixels = _blend(_grey(pixels), pixels, steps[:, 2])
    return _normalise(pixels, dtype)


def resize_clips(
    frames: UInt8[Array, "B T L L 3"], *, image_size: int, dtype: DTypeLike = jnp.float32
) -> Float[Array, "B T S S 3"]:
    """What evaluation does: Pillow's antialiased bilinear resize of the whole frame, then normalisation.

    Args:
        frames: RGB grey levels as decoded.
        image_size: S, the edge in pixels that the model takes.
        dtype: of the result.

    Raises:
        ValueError: the frames would have to be enlarged.
    """
    return _normalise(_resize(frames, image_size), dtype)


def _per_clip(values: Array) -> Array:
    return values[:, None, None, None, None]


def _grey(pixels: Int[Array, "B T S S 3"]) -> Int[Array, "B T S S 1"]:
    red, green, blue = (weight * pixels[..., c : c + 1] for c, weight in enumerate(_GREY))
    return (red + green + blue + (1 << 15)) >> 16


def _blend(low: Array, high: Int[Array, "B T S S 3"], steps: Int[Array, "B"]) -> Int[Array, "B T S S 3"]:
    """`Image.blend`: low + factor (high - low), cut off (not rounded) and clipped to 8 bits."""
    exact = low * FACTOR_STEPS + _per_clip(steps) * (high - low)
    return jnp.clip(exact >> (FACTOR_STEPS.bit_length() - 1), 0, 255)


def _normalise(pixels: Array, dtype: DTypeLike) -> Float[Array, "B T S S 3"]:
    # At least float32: a grey level would not survive the subtraction in bfloat16.
    wide = jnp.promote_types(dtype, jnp.float32)
    mean, std = (jnp.asarray(v, wide) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((pixels.astype(wide) / 255 - mean) / std).astype(dtype)


def _resize(frames: Array, edge: int) -> Array:
    """Pillow's bilinear resize of square frames to a smaller edge; 8 bits in, 8 bits out."""
    source = frames.shape[2]
    if edge > source:
        raise ValueError(f"frames of {source} pixels cannot be enlarged to {edge}; decode them larger")
    if edge == source:
        return frames
    return _resize_axis(_resize_axis(frames, edge, axis=3), edge, axis=2)


def _resize_axis(frames: Array, edge: int, axis: int) -> Array:
    taps, weights = _taps(frames.shape[axis], edge)
    shape = [1] * frames.ndim
    shape[axis] = edge
    total = jnp.asarray(1 << (_RESIZE_BITS - 1), jnp.int32)
    for tap, weight in zip(taps, weights, strict=True):
        total = total + jnp.take(frames, tap, axis=axis).astype(jnp.int32) * jnp.reshape(weight, shape)
    return jnp.clip(total >> _RESIZE_BITS, 0, 255).astype(jnp.uint8)


@functools.cache
def _taps(source: int, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that each output pixel of a resize reads, and their fixed-point weights.

    Returns:
        int32 (taps, edge) positions and int32 (taps, edge) weights in units of 2^-22; a triangle
        filter as wide as the reduction, cut off at the border and normalised.
    """
    scale = source / edge
    centre = (np.arange(edge) + 0.5) * scale
    first = np.maximum((centre - scale + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + scale + 0.5).astype(np.int64), source)
    taps = first + np.arange((last - first).max())[:, None]
    weights = np.maximum(1 - np.abs((taps - centre + 0.5) / scale), 0) * (taps < last)
    weights = weights / weights.sum(0)
    fixed = np.floor(weights * (1 << _RESIZE_BITS) + 0.5).astype(np.int32)
    return np.minimum(taps, source - 1).astype(np.int32), fixed
