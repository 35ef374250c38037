"""Points smoothed over time, so that the unrest of a detector does not become motion of the face.

A point is replaced by the value at its frame of a polynomial that is fitted to the frames around it by
weighted least squares (Cleveland 1979, without the robust rounds). The window is finite: how many later
frames a result needs is `Smoothing.look_ahead`. Where a track starts or ends the window is cut off; it never
reaches across a frame without a measurement.

In a whole window, which is symmetric, a mean and a line are the same. In one that is cut off, or causal, the
frames lie to one side: there a mean lags behind a face that moves and a line does not, but a line leaves more
of the noise. Measured in docs/faces.md.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

METHODS = {"none": 0, "mean": 0, "linear": 1, "quadratic": 2}
"""Degree of the polynomial of each method."""


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """How points are smoothed.

    Attributes:
        method: one of `METHODS`; "mean" is a weighted mean, "linear" a weighted line.
        window: frames that a result depends on, odd; only the past half and the frame itself if `causal`.
        causal: whether later frames are left out, so that results need not wait.

    Raises:
        ValueError: a field is out of range.
    """

    method: str = "linear"
    window: int = 7
    causal: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"smoothing {self.method!r} is unknown; choose one of {', '.join(METHODS)}")
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"a smoothing window must be an odd number of frames, found {self.window}")

    @property
    def reach(self) -> int:
        """Earlier frames that a result depends on."""
        return 0 if self.method == "none" else self.window // 2

    @property
    def look_ahead(self) -> int:
        """Later frames that a result depends on."""
        return 0 if self.causal else self.reach

    def at(self, run: Float[np.ndarray, "T 5 2"], place: int) -> Float[np.ndarray, "5 2"]:
        """Smoothed points of one frame.

        Args:
            run: measured points of frames that follow each other without a gap, pixels.
            place: of the frame in `run`; frames further away than the window reaches are not used.
        """
        first, last = max(0, place - self.reach), min(len(run) - 1, place + self.look_ahead)
        weights = _weights(METHODS[self.method], self.reach, place - first, last - place)
        return np.tensordot(weights, run[first : last + 1], 1).astype(run.dtype)


def smooth_run(run: Float[np.ndarray, "T 5 2"], smoothing: Smoothing) -> Float[np.ndarray, "T 5 2"]:
    """All frames of a run smoothed, see `Smoothing.at`."""
    return np.stack([smoothing.at(run, place) for place in range(len(run))])


@functools.cache
def _weights(degree: int, reach: int, before: int, after: int) -> Float[np.ndarray, " W"]:
    """What each frame from `before` frames ago to `after` frames ahead adds to the result."""
    offsets = np.arange(-before, after + 1, dtype=np.float64)
    # A bell that falls to an eighth at the border of the window.
    kernel = np.exp2(-3.0 * (offsets / max(reach, 1)) ** 2)
    # A line needs two frames and a parabola three; at the border of a run a parabola would only follow noise.
    degree = min(degree, before + after, 2 if min(before, after) > 0 else 1)
    powers = (offsets / max(reach, 1))[:, None] ** np.arange(degree + 1)
    gram = powers.T @ (kernel[:, None] * powers)
    return np.linalg.solve(gram, powers.T * kernel)[0]
