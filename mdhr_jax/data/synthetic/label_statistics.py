"""Statistics of AU labels, generated or published, and the bounds that generated ones are held to."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int8

from mdhr_jax.data.synthetic.published import QUANTILES, WINDOW, PublishedLabels

RATE_BOUND = 0.03
"""Largest difference of an AU's rate from the published one."""
CONDITIONAL_BOUND = 0.05
"""Largest median of the absolute differences of P(i|j)."""
RUN_BOUND = 0.3
"""Largest relative difference of a quantile of an AU's run lengths."""
JOINT_REACH = 3
"""Frames between two changes that still count as a joint change."""


@dataclasses.dataclass(frozen=True)
class LabelStatistics:
    """What `measure` finds.

    Attributes:
        frames: number of frames.
        rates: share of frames with each AU.
        conditional: P(row AU present | column AU present); NaN where the column's AU never is.
        run_counts: number of uninterrupted presences of each AU.
        run_quantiles: quantiles `published.QUANTILES` of their lengths, frames; NaN where there are none.
        windows: share of windows of `published.WINDOW` frames in which any AU changes.
        windows_by_au: share of windows in which each AU changes.
        subject_rates: rate of each AU in the subject with the least, the median and the most.
        joint: of a row AU's starts and stops, the share that has a start or stop of the column AU, of the
            same kind, within `JOINT_REACH` frames; NaN where there is none.
        joint_by_chance: the same, expected if the column AU's changes were spread over the video at random.
    """

    frames: int
    rates: Float[np.ndarray, " N"]
    conditional: Float[np.ndarray, "N N"]
    run_counts: Int[np.ndarray, " N"]
    run_quantiles: Float[np.ndarray, "N Q"]
    windows: float
    windows_by_au: Float[np.ndarray, " N"]
    subject_rates: Float[np.ndarray, "N 3"]
    joint: Float[np.ndarray, "N N"]
    joint_by_chance: Float[np.ndarray, "N N"]


def run_lengths(labels: Sequence[Int8[np.ndarray, "_ N"]], column: int) -> Int[np.ndarray, " R"]:
    """Lengths of the uninterrupted presences of an AU, frames, video by video."""
    found = []
    for video in labels:
        padded = np.concatenate([[0], video[:, column], [0]])
        steps = np.diff(padded)
        found.append(np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1))
    return np.concatenate(found)


def _joint_changes(
    labels: Sequence[Int8[np.ndarray, "_ N"]],
) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "N N"]]:
    columns = labels[0].shape[1]
    together, chance, total = np.zeros((columns, columns)), np.zeros((columns, columns)), np.zeros(columns)
    for video in labels:
        steps = np.diff(video.astype(np.int64), axis=0)
        for kind in (1, -1):
            changes = (steps == kind).astype(np.float64)
            counts = changes.sum(0)
            sums = np.cumsum(np.pad(changes, ((JOINT_REACH + 1, JOINT_REACH), (0, 0))), axis=0)
            width = 2 * JOINT_REACH + 1
            near = (sums[width:] - sums[:-width]) > 0.5
            together += changes.T @ near
            chance += counts[:, None] * np.minimum(counts * width / len(steps), 1.0)
            total += counts
    with np.errstate(invalid="ignore"):
        return together / total[:, None], chance / total[:, None]


def measure(labels: Sequence[Int8[np.ndarray, "_ N"]], subjects: Sequence[int]) -> LabelStatistics:
    """Statistics of labels.

    Args:
        labels: 0 or 1 of every video, at least `published.WINDOW` frames long.
        subjects: the subject of every video.
    """
    flat = np.concatenate(labels).astype(np.float64)
    rates = flat.mean(0)
    with np.errstate(invalid="ignore"):
        conditional = (flat.T @ flat / len(flat)) / rates
    runs = [run_lengths(labels, column) for column in range(flat.shape[1])]
    cut = [video[: len(video) // WINDOW * WINDOW].reshape(-1, WINDOW, flat.shape[1]) for video in labels]
    windows = np.concatenate(cut)
    changes = np.any(windows != windows[:, :1], axis=1)
    numbers = np.asarray(subjects)
    by_subject = np.stack(
        [
            np.concatenate([labels[i] for i in np.flatnonzero(numbers == subject).tolist()]).mean(0)
            for subject in np.unique(numbers)
        ]
    )
    joint, by_chance = _joint_changes(labels)
    return LabelStatistics(
        frames=len(flat),
        rates=rates,
        conditional=conditional,
        run_counts=np.asarray([len(lengths) for lengths in runs]),
        run_quantiles=np.asarray(
            [np.quantile(x, QUANTILES) if len(x) else np.full(len(QUANTILES), np.nan) for x in runs]
        ),
        windows=float(changes.any(1).mean()),
        windows_by_au=changes.mean(0),
        subject_rates=np.quantile(by_subject, (0.0, 0.5, 1.0), axis=0).T,
        joint=joint,
        joint_by_chance=by_chance,
    )


def conditional_differences(
    found: LabelStatistics, published: PublishedLabels
) -> Float[np.ndarray, " pairs"]:
    """Absolute differences of P(i|j) over all pairs of different AUs."""
    others = ~np.eye(len(published.aus), dtype=bool)
    return np.abs(found.conditional - published.conditional_matrix())[others]


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What labels are held to.

    Attributes:
        windows: lowest and highest share of windows with a change of any AU.
        runs: whether run lengths are to be the published ones.
    """

    windows: tuple[float, float]
    runs: bool


def misses(found: LabelStatistics, published: PublishedLabels, bounds: Bounds) -> list[str]:
    """A sentence for every bound that is missed; a NaN misses its bound."""
    sentences = []
    for au, rate, wanted in zip(published.aus, found.rates, published.rates, strict=True):
        if not abs(rate - wanted) <= RATE_BOUND:
            sentences.append(f"AU{au}: rate {rate:.3f}, published {wanted:.3f}, bound {RATE_BOUND} apart")
    median = float(np.median(conditional_differences(found, published)))
    if not median < CONDITIONAL_BOUND:
        sentences.append(f"P(i|j): median difference {median:.3f}, bound {CONDITIONAL_BOUND}")
    if bounds.runs:
        for au, lengths, wanted in zip(
            published.aus, found.run_quantiles, published.run_quantiles, strict=True
        ):
            for share, length, target in zip(QUANTILES, lengths, wanted, strict=True):
                if not abs(length / target - 1.0) <= RUN_BOUND + 1e-9:  # 26 and 20 frames are 30 % apart
                    sentences.append(
                        f"AU{au}: {share:.0%} quantile of the runs {length:.1f} frames, "
                        f"published {target:.1f}, bound {RUN_BOUND:.0%}"
                    )
    low, high = bounds.windows
    if not low <= found.windows <= high:
        sentences.append(f"windows with a change {found.windows:.1%}, bounds {low:.0%} to {high:.0%}")
    return sentences
