"""Aggregate statistics of the published AU labels of BP4D and DISFA, which synthetic labels are held to.

They were counted over the public label lists of the three folds (146,847 frames of BP4D, 130,814 of DISFA;
no single label is kept here): how often an AU is present, which AUs are present together, how long a
presence lasts, how much subjects differ.
"""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PublishedLabels:
    """What is known of the labels of one data set.

    Attributes:
        aus: FACS numbers, the order of everything below.
        rates: share of frames with the AU.
        conditional: P(row AU present | column AU present).
        run_quantiles: 10, 50 and 90 % quantile of the length of uninterrupted presence, frames.
        subject_rates: rate of the subject with the least, of the median subject and of the one with the most.
        windows: bounds for the share of windows of `WINDOW` frames, cut in order and without overlap, in
            which any AU changes.
        joint_changes: pairs of AUs that start and stop together, and the share of the first one's starts
            and stops that have one of the second, of the same kind, within three frames (where counted).
        subjects: number of subjects.
        videos_per_subject: videos of each.
        frames_per_video: mean length of a video, frames.
    """

    aus: tuple[int, ...]
    rates: tuple[float, ...]
    conditional: tuple[tuple[float, ...], ...]
    run_quantiles: tuple[tuple[float, float, float], ...]
    subject_rates: tuple[tuple[float, float, float], ...]
    windows: tuple[float, float]
    joint_changes: tuple[tuple[int, int, float | None], ...]
    subjects: int
    videos_per_subject: int
    frames_per_video: int

    def conditional_matrix(self) -> Float[np.ndarray, "N N"]:
        """`conditional` as an array."""
        return np.asarray(self.conditional)


WINDOW = 16
"""Length of the windows of `PublishedLabels.windows`, frames: the clips of the paper."""

QUANTILES = (0.1, 0.5, 0.9)
"""Which quantiles of the run lengths are given."""

# fmt: off
PUBLISHED: dict[str, PublishedLabels] = {
    "bp4d": PublishedLabels(
        aus=(1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
        rates=(
            0.2114, 0.171, 0.2026, 0.4609, 0.549, 0.5943, 0.562, 0.4656, 0.1694, 0.3433, 0.1654, 0.1514,
        ),
        conditional=(
            (1.0, 0.628, 0.311, 0.206, 0.213, 0.236, 0.217, 0.208, 0.188, 0.222, 0.196, 0.163),
            (0.508, 1.0, 0.114, 0.19, 0.165, 0.193, 0.208, 0.18, 0.141, 0.159, 0.173, 0.146),
            (0.299, 0.135, 1.0, 0.177, 0.228, 0.177, 0.109, 0.184, 0.192, 0.238, 0.236, 0.253),
            (0.45, 0.512, 0.404, 1.0, 0.704, 0.668, 0.699, 0.594, 0.638, 0.485, 0.558, 0.436),
            (0.554, 0.528, 0.619, 0.838, 1.0, 0.71, 0.703, 0.654, 0.735, 0.601, 0.633, 0.568),
            (0.663, 0.672, 0.519, 0.861, 0.768, 1.0, 0.822, 0.729, 0.763, 0.599, 0.641, 0.48),
            (0.577, 0.685, 0.301, 0.853, 0.72, 0.778, 1.0, 0.682, 0.691, 0.546, 0.631, 0.462),
            (0.458, 0.491, 0.423, 0.601, 0.555, 0.571, 0.565, 1.0, 0.629, 0.577, 0.634, 0.732),
            (0.15, 0.139, 0.16, 0.234, 0.227, 0.217, 0.208, 0.229, 1.0, 0.322, 0.368, 0.318),
            (0.36, 0.32, 0.404, 0.361, 0.376, 0.346, 0.334, 0.425, 0.652, 1.0, 0.635, 0.814),
            (0.154, 0.168, 0.193, 0.2, 0.191, 0.178, 0.186, 0.225, 0.359, 0.306, 1.0, 0.398),
            (0.117, 0.13, 0.189, 0.143, 0.157, 0.122, 0.124, 0.238, 0.284, 0.359, 0.364, 1.0),
        ),
        run_quantiles=(
            (8.0, 32.0, 161.4), (9.0, 34.0, 142.3), (8.0, 31.5, 199.6), (14.0, 82.0, 316.1),
            (15.0, 77.0, 414.4), (13.0, 87.0, 450.0), (22.7, 122.5, 480.0), (11.0, 62.0, 344.0),
            (7.0, 19.0, 82.4), (6.0, 20.0, 104.8), (6.0, 18.0, 62.0), (4.0, 24.0, 131.6),
        ),
        subject_rates=(
            (0.011, 0.172, 0.699), (0.0, 0.104, 0.662), (0.009, 0.189, 0.776), (0.153, 0.448, 0.751),
            (0.193, 0.527, 1.0), (0.133, 0.57, 0.954), (0.22, 0.606, 0.798), (0.101, 0.491, 0.804),
            (0.003, 0.107, 0.683), (0.067, 0.32, 0.638), (0.007, 0.117, 0.465), (0.005, 0.131, 0.366),
        ),
        windows=(0.45, 0.57),
        joint_changes=((17, 23, 0.22), (1, 2, 0.35), (15, 17, 0.29)),
        subjects=41, videos_per_subject=8, frames_per_video=450,
    ),
    "disfa": PublishedLabels(
        aus=(1, 2, 4, 6, 9, 12, 25, 26),
        rates=(
            0.0497, 0.0432, 0.1524, 0.0789, 0.0418, 0.1288, 0.2771, 0.0882,
        ),
        conditional=(
            (1.0, 0.696, 0.116, 0.043, 0.116, 0.04, 0.06, 0.096),
            (0.604, 1.0, 0.093, 0.021, 0.029, 0.022, 0.025, 0.051),
            (0.357, 0.329, 1.0, 0.16, 0.744, 0.035, 0.17, 0.182),
            (0.068, 0.038, 0.083, 1.0, 0.324, 0.433, 0.237, 0.119),
            (0.098, 0.028, 0.204, 0.172, 1.0, 0.028, 0.081, 0.089),
            (0.103, 0.065, 0.03, 0.706, 0.086, 1.0, 0.375, 0.197),
            (0.334, 0.162, 0.309, 0.831, 0.538, 0.807, 1.0, 0.721),
            (0.171, 0.103, 0.105, 0.133, 0.187, 0.135, 0.229, 1.0),
        ),
        run_quantiles=(
            (5.0, 22.0, 142.0), (4.9, 24.0, 146.4), (4.6, 24.0, 233.4), (15.3, 74.0, 201.5),
            (7.6, 38.0, 248.0), (15.0, 71.0, 192.0), (8.1, 68.0, 288.9), (5.0, 16.5, 106.2),
        ),
        subject_rates=(
            (0.0, 0.018, 0.224), (0.0, 0.009, 0.402), (0.002, 0.066, 0.672), (0.0, 0.046, 0.288),
            (0.0, 0.024, 0.235), (0.029, 0.129, 0.262), (0.051, 0.234, 0.87), (0.0, 0.038, 0.444),
        ),
        windows=(0.15, 0.24),
        joint_changes=((1, 2, None), (4, 9, None)),
        subjects=27, videos_per_subject=1, frames_per_video=4845,
    ),
}
# fmt: on
