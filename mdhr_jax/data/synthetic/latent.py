"""Gaussian activity that AUs share, and when it makes them present.

The activity of AU i is a sum over levels c of independent stationary Gaussian processes,

    z_i(t) = sum_c loading[c, i] * sum_j mix[i, j] * x_cj(t),    sum_c loading[c, i]^2 = 1,

where level 0 is constant for a subject, level 1 for a video, and the others vary on the time scales of
`LabelModel.scales`; ``mix`` is a Cholesky factor of the correlation that the AUs share on every level. An
AU is present where its activity exceeds a threshold that is met as often as the AU is to be present.
Several time scales give the heavy tails of the published runs: short ones near the threshold, long ones
where the slow part lies far above it; a shared fast level lets AUs start and stop together.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class LabelModel:
    """Constants of the activity of one AU set, fitted by `mdhr_jax.data.synthetic.fit_labels`.

    Attributes:
        scales: time scales of the levels after subject and video, frames: the correlation of a level at a
            distance of d frames of the clock is exp(-d^2 / (4 scale^2)).
        burst: spread and time scale of the clock's speed, see `bursty_clock`.
        loadings: a row a level (subject, video, then `scales`), a column an AU; squares of a column sum to 1.
        mix: lower triangular factor of the correlation between the AUs.
        shortest: frames that a presence of each AU has at least.
    """

    scales: tuple[float, ...]
    burst: tuple[float, float]
    loadings: tuple[tuple[float, ...], ...]
    mix: tuple[tuple[float, ...], ...]
    shortest: tuple[int, ...]


SHORTEST_GAP = 3
"""Frames of the shortest absence between two presences: faces are no faster."""

_REACH = 4  # widths at which the Gaussian of `smooth_noise` is cut off; it is 3e-4 there


def smooth_noise(
    knots: Float[np.ndarray, "K V N"], clock: Float[np.ndarray, "F V"], scale: float
) -> Float[np.ndarray, "F V N"]:
    """Stationary Gaussian processes of variance 1 from white noise on knots one time scale apart.

    Elementwise operations only, so that the result does not hang on how a library orders its sums.

    Args:
        knots: standard normal draws, at least `knot_count` of them for every video and process; the result
            has their precision.
        clock: time of every frame and video, frames, from 0.
        scale: time scale, frames; see `LabelModel.scales`.
    """
    place = clock / scale
    first = np.floor(place).astype(np.int64)
    result = np.zeros((*clock.shape, knots.shape[-1]), knots.dtype)
    videos = np.arange(clock.shape[1])
    for tap in range(2 * _REACH):
        distance = place - first - (tap - _REACH + 1)
        # The squares of the weights add up to 1 to within 1e-4 at any place between two knots.
        weight = (np.exp(-0.5 * distance * distance) * np.pi**-0.25).astype(knots.dtype)
        result += weight[..., None] * knots[first + tap, videos]
    return result


def knot_count(clock: Float[np.ndarray, "F V"], scale: float) -> int:
    """Number of knots that `smooth_noise` needs."""
    return int(clock.max() / scale) + 1 + 2 * _REACH


def bursty_clock(
    frames: int, videos: int, burst: float, scale: float, rng: np.random.Generator
) -> Float[np.ndarray, "F V"]:
    """Time that now runs, now rests, for all AUs of a video alike, so that their changes come in bursts.

    What a frame looks like has the same distribution at any speed of the clock.

    Args:
        frames: number of frames.
        videos: number of clocks.
        burst: standard deviation of the logarithm of the clock's speed, whose mean is 1.
        scale: time scale of its changes, frames.
        rng: source of randomness.

    Returns:
        Times from 0, frames.
    """
    even = np.arange(frames)[:, None] + scale * rng.uniform(size=(1, videos))
    knots = rng.standard_normal((knot_count(even, scale), videos, 1))
    speed = np.exp(burst * smooth_noise(knots, even, scale)[..., 0] - 0.5 * burst * burst)
    clock = np.cumsum(speed, axis=0)
    return clock - clock[:1]


def tidy(
    present: Bool[np.ndarray, "V F"], shortest: int
) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " R"], Int[np.ndarray, " R"]]:
    """Runs of presence after absences below `SHORTEST_GAP`, then presences below `shortest` were removed.

    Args:
        present: a row a video.
        shortest: frames that a presence has at least.

    Returns:
        Of every run the number of the video, the first frame and the first frame after it.
    """
    rows, frames = present.shape
    stride = frames + 2 * SHORTEST_GAP
    padded = np.zeros((rows, stride), np.int8)
    padded[:, SHORTEST_GAP : SHORTEST_GAP + frames] = present
    steps = np.diff(padded.ravel())
    start, stop = np.flatnonzero(steps == 1) + 1, np.flatnonzero(steps == -1) + 1
    if len(start):
        apart = start[1:] - stop[:-1] >= SHORTEST_GAP
        start, stop = start[np.append(True, apart)], stop[np.append(apart, True)]
        long_enough = stop - start >= shortest
        start, stop = start[long_enough], stop[long_enough]
    video = start // stride
    offset = video * stride + SHORTEST_GAP
    return video, start - offset, stop - offset


# What `hurried` leaves of the variance that is constant in a video, and of the spread of the clock's speed.
_CONSTANT_LEFT, _BURST_LEFT = 0.2, 0.3
# The fastest time scale and the shortest presence that a face can follow, frames.
_FASTEST, _BRIEFEST = 4.0, 5


def hurried(model: LabelModel, speed: float) -> LabelModel:
    """The same AUs together, but many more changes: faster, steadily so, and less of it constant in a video.

    Args:
        model: constants fitted to published labels.
        speed: how much faster, above 1.
    """
    squares = np.square(model.loadings)
    squares[:2] *= _CONSTANT_LEFT
    loadings = np.sqrt(squares / squares.sum(0))
    return dataclasses.replace(
        model,
        scales=tuple(max(scale / speed, _FASTEST) for scale in model.scales),
        burst=(_BURST_LEFT * model.burst[0], model.burst[1]),
        loadings=tuple(tuple(row) for row in loadings.tolist()),
        shortest=tuple(min(frames, _BRIEFEST) for frames in model.shortest),
    )
