"""Smooth functions over the face plane: the brushes that faces and AU actions are made of.

The plane is measured in *eye units*: the origin lies midway between the eyes, x grows to the viewer's
right, y grows downwards, and the distance between the eyes is 1.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

Plane = Float[np.ndarray, "H W"]
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Sample positions in eye units; x and y are kept apart so that separable functions stay cheap.

    Attributes:
        x: positions of the columns.
        y: positions of the rows.
    """

    x: Float[np.ndarray, "1 W"]
    y: Float[np.ndarray, "H 1"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.y.shape[0], self.x.shape[1]

    @property
    def step(self) -> float:
        """Distance of neighbouring samples in eye units."""
        return float(self.x[0, 1] - self.x[0, 0])


def make_grid(x_start: float, y_start: float, step: float, width: int, height: int) -> Grid:
    """A regular float32 grid from its first sample, step (eye units) and size (samples)."""
    x = (x_start + step * np.arange(width)).astype(np.float32)[None, :]
    y = (y_start + step * np.arange(height)).astype(np.float32)[:, None]
    return Grid(x, y)


def zeros(grid: Grid) -> Plane:
    """A float32 plane of zeros."""
    return np.zeros(grid.shape, np.float32)


def gauss(grid: Grid, centre: Point, spread: Point, angle: float = 0.0) -> Plane:
    """Gaussian bump of height 1.

    Args:
        centre: position, eye units.
        spread: standard deviations along the bump's own axes, eye units.
        angle: rotation of those axes in radians, from x towards y.
    """
    dx, dy = grid.x - np.float32(centre[0]), grid.y - np.float32(centre[1])
    if angle == 0.0:
        return np.exp(-0.5 * (dx / spread[0]) ** 2) * np.exp(-0.5 * (dy / spread[1]) ** 2)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    return np.exp(-0.5 * ((along / spread[0]) ** 2 + (across / spread[1]) ** 2))


def smoothstep(low: float, high: float, value: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Cubic step from 0 at `low` to 1 at `high`; `low` may exceed `high`."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bezier(start: Point, control: Point, end: Point, count: int = 8) -> tuple[Point, ...]:
    """Points along a quadratic Bezier curve, both ends included."""
    points = []
    for t in np.linspace(0.0, 1.0, count):
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        points.append(
            (
                float(a * start[0] + b * control[0] + c * end[0]),
                float(a * start[1] + b * control[1] + c * end[1]),
            )
        )
    return tuple(points)


def stroke(grid: Grid, points: Sequence[Point], width: float, taper: float = 0.5) -> Plane:
    """Line of Gaussian cross-section along a polyline, height 1 in the middle, fading to its ends.

    Args:
        points: at least two positions, eye units.
        width: standard deviation of the cross-section, eye units.
        taper: exponent of the fading; 0 keeps the full height up to the ends.
    """
    out = zeros(grid)
    path = np.asarray(points, np.float32)
    reach = 3.5 * width
    columns = np.flatnonzero(np.abs(grid.x[0] - _clamped(grid.x[0], path[:, 0])) <= reach)
    rows = np.flatnonzero(np.abs(grid.y[:, 0] - _clamped(grid.y[:, 0], path[:, 1])) <= reach)
    if not len(columns) or not len(rows):
        return out
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    x, y = grid.x[:, box[1]], grid.y[box[0]]
    best = np.full((y.shape[0], x.shape[1]), np.inf, np.float32)
    where = np.zeros_like(best)
    lengths = np.hypot(*np.diff(path, axis=0).T)
    starts = np.concatenate([[0.0], np.cumsum(lengths)]) / max(float(lengths.sum()), 1e-9)
    for i, (first, second) in enumerate(itertools.pairwise(path)):
        span = second - first
        t = ((x - first[0]) * span[0] + (y - first[1]) * span[1]) / max(float(span @ span), 1e-9)
        t = np.clip(t, 0.0, 1.0)
        squared = (x - first[0] - t * span[0]) ** 2 + (y - first[1] - t * span[1]) ** 2
        closer = squared < best
        best = np.where(closer, squared, best)
        where = np.where(closer, np.float32(starts[i]) + t * np.float32(starts[i + 1] - starts[i]), where)
    height = np.exp(-0.5 * best / width**2)
    if taper > 0:
        height = height * np.clip(np.sin(np.pi * np.clip(where, 0.02, 0.98)), 0.0, 1.0) ** taper
    out[box] = height
    return out


def _clamped(values: Float[np.ndarray, " n"], limits: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    return np.clip(values, limits.min(), limits.max())


def noise(grid: Grid, rng: np.random.Generator, spread: Point) -> Plane:
    """Smooth random plane of zero mean and unit variance.

    Args:
        spread: standard deviations of the smoothing along x and y, eye units.
    """
    raw = rng.standard_normal(grid.shape, dtype=np.float32)
    sigma = (spread[1] / grid.step, spread[0] / grid.step)
    plane = ndimage.gaussian_filter(raw, sigma, mode="wrap", truncate=3.0)
    return (plane - plane.mean()) / max(float(plane.std()), 1e-6)


def sample(
    field: Float[np.ndarray, "C H W"], grid: Grid, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "C n"]:
    """Bilinear values of planes at positions in eye units; beyond the border the border's value holds."""
    height, width = grid.shape
    column = np.clip((x - grid.x[0, 0]) / np.float32(grid.step), 0.0, width - 1.001).astype(np.float32)
    row = np.clip((y - grid.y[0, 0]) / np.float32(grid.step), 0.0, height - 1.001).astype(np.float32)
    left: Int[np.ndarray, " n"] = column.astype(np.int32)
    top: Int[np.ndarray, " n"] = row.astype(np.int32)
    fx, fy = column - left, row - top
    flat = field.reshape(field.shape[0], -1)
    index = (top * width + left).astype(np.intp)
    upper, right = flat.take(index, 1), flat.take(index + 1, 1)
    lower, corner = flat.take(index + width, 1), flat.take(index + width + 1, 1)
    upper += (right - upper) * fx
    lower += (corner - lower) * fx
    return upper + (lower - upper) * fy
