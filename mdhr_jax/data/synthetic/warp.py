"""Reading the portrait through an inverse warp: the inner loop of rendering."""

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.fields import Grid

_BLOCK_ROWS = 32


def gather(
    texture: Float[np.ndarray, "H W 4"],
    canvas: Grid,
    pixel: float,
    position: Float[np.ndarray, "2 S S"],
    wall: Float[np.ndarray, "S S 3"],
) -> Float[np.ndarray, "S S 3"]:
    """Bilinear reading of the portrait, laid over the wall.

    Args:
        texture: colour multiplied by opacity, and opacity.
        canvas: where its samples lie.
        pixel: their distance, eye units.
        position: where in the portrait every pixel comes from, eye units.
        wall: what stands behind.
    """
    height, width = canvas.shape
    scale = np.float32(1.0 / pixel)
    # Four float32 are one complex128, so that each corner is a single gather of 16-byte items.
    flat = texture.view(np.complex128).reshape(-1)
    picture = np.empty((*position.shape[1:], 3), np.float32)
    # Blocks of rows keep the temporaries in the processor's cache.
    for start in range(0, len(wall), _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, len(wall)))
        column = np.clip((position[0, rows] - canvas.x[0, 0]) * scale, 0.0, width - 1.01)
        row = np.clip((position[1, rows] - canvas.y[0, 0]) * scale, 0.0, height - 1.01)
        left, top = column.astype(np.intp), row.astype(np.intp)
        # Repeating the weights is faster than broadcasting them over so short an axis.
        fx, fy = (np.repeat(part, 4).reshape(*left.shape, 4) for part in (column - left, row - top))
        corners = []
        for shift in (0, 1, width, width + 1):
            taken = flat.take(top * width + left + shift, mode="clip")
            corners.append(taken.view(np.float32).reshape(*left.shape, 4))
        first, second, third, fourth = corners
        second -= first
        second *= fx
        first += second
        fourth -= third
        fourth *= fx
        third += fourth
        third -= first
        third *= fy
        first += third
        np.multiply(wall[rows], 1.0 - first[..., 3:], out=picture[rows])
        picture[rows] += first[..., :3]
    return picture


def enlarge(coarse: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis: n samples to (n - 1) * factor + 1."""
    if factor == 1:
        return coarse
    count = coarse.shape[axis]
    lower = np.take(coarse, np.arange(count - 1), axis)
    rise = np.take(coarse, np.arange(1, count), axis) - lower
    shape = list(coarse.shape)
    shape[axis] = (count - 1) * factor + 1
    out = np.empty(shape, np.float32)
    index: list[slice] = [slice(None)] * coarse.ndim
    for part in range(factor):
        index[axis] = slice(part, shape[axis] - 1, factor)
        out[tuple(index)] = lower + np.float32(part / factor) * rise
    index[axis] = slice(shape[axis] - 1, None)
    out[tuple(index)] = np.take(coarse, [count - 1], axis)
    return out
