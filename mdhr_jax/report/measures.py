"""What is measured of a run, AU by AU: from counts of each subject, or from the ranks of the scores.

Counts are int64 arrays whose last axis is `TP`, `FP`, `FN`, `TN`. They add: over subjects, and over subjects
drawn again and again, which is why a bootstrap needs nothing else (`mdhr_jax.report.bootstrap`).

All measures are shares, MCC lies in [-1, 1]; NaN says that a measure is not defined.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy.typing import ArrayLike

from mdhr_jax.training.predictions import Predictions

TP, FP, FN, TN = range(4)
"""Positions in the last axis of counts."""

Counts = Int64[np.ndarray, "*batch 4"] | Float[np.ndarray, "*batch 4"]
Values = Float[np.ndarray, "*batch"]


@dataclasses.dataclass(frozen=True)
class SubjectCounts:
    """Counts of a run, apart by subject.

    Attributes:
        subjects: names, sorted.
        overall: (S, N, 4), over all known frames.
        changing: (S, N, 4), over frames of full windows in which the AU changes.
    """

    subjects: tuple[str, ...]
    overall: Int64[np.ndarray, "S N 4"]
    changing: Int64[np.ndarray, "S N 4"]


def count(predictions: Predictions) -> SubjectCounts:
    """Counts at the thresholds of the predictions; unknown labels are in none."""
    subjects = tuple(sorted(set(predictions.subjects)))
    of_video = np.array([subjects.index(name) for name in predictions.subjects], np.int64)
    of_frame = of_video[predictions.video]
    predicted, changing = predictions.predicted(), predictions.changing()
    present, absent = predictions.labels == 1, predictions.labels == 0
    outcomes = (present & predicted, absent & predicted, present & ~predicted, absent & ~predicted)

    # As a product: NumPy's adding by index takes ten times as long. Whole numbers, so it is exact.
    members = (of_frame == np.arange(len(subjects))[:, None]).astype(np.float64)

    def add(entries: Bool[np.ndarray, "F N"]) -> Int64[np.ndarray, "S N 4"]:
        sums = [members @ (outcome & entries).astype(np.float64) for outcome in outcomes]
        return np.stack(sums, -1).astype(np.int64)

    return SubjectCounts(subjects, add(np.ones_like(present)), add(changing))


def f1(counts: Counts) -> Values:
    """2 TP / (2 TP + FP + FN); undefined where the AU is neither present nor predicted."""
    return _ratio(2 * counts[..., TP], 2 * counts[..., TP] + counts[..., FP] + counts[..., FN])


def accuracy(counts: Counts) -> Values:
    """Share of frames predicted right; undefined without frames."""
    return _ratio(counts[..., TP] + counts[..., TN], counts.sum(-1))


def balanced_accuracy(counts: Counts) -> Values:
    """Mean of the shares of present and of absent frames predicted right; undefined where one kind lacks."""
    found = _ratio(counts[..., TP], counts[..., TP] + counts[..., FN])
    left = _ratio(counts[..., TN], counts[..., TN] + counts[..., FP])
    return np.asarray((found + left) / 2)


def mcc(counts: Counts) -> Values:
    """Matthews' correlation of labels and predictions; undefined where one of both is constant."""
    tp, fp, fn, tn = (counts[..., position].astype(np.float64) for position in (TP, FP, FN, TN))
    # The product of all four sums would pass what int64 holds.
    below = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    return _ratio(tp * tn - fp * fn, below)


def always_present(counts: Int64[np.ndarray, "*batch 4"]) -> Int64[np.ndarray, "*batch 4"]:
    """The counts that calling an AU present in every frame would have: the baseline."""
    baseline = np.zeros_like(counts)
    baseline[..., TP] = counts[..., TP] + counts[..., FN]
    baseline[..., FP] = counts[..., FP] + counts[..., TN]
    return baseline


def average_precision(
    scores: Float32[np.ndarray, "F N"], known: Bool[np.ndarray, "F N"], present: Bool[np.ndarray, "F N"]
) -> Float[np.ndarray, " N"]:
    """Sum over the thresholds of precision times the recall that each adds; no interpolation.

    Frames with equal scores pass a threshold together.

    Args:
        scores: any order-preserving values.
        known: entries to look at.
        present: labels.

    Returns:
        Of each AU; undefined where it is present in no known frame.
    """
    return _by_rank(scores, known, present, _average_precision)


def roc_auc(
    scores: Float32[np.ndarray, "F N"], known: Bool[np.ndarray, "F N"], present: Bool[np.ndarray, "F N"]
) -> Float[np.ndarray, " N"]:
    """The chance that a present frame scores above an absent one, equal scores counting half.

    Args:
        scores, known, present: see `average_precision`.

    Returns:
        Of each AU; undefined where it is never or always present.
    """
    return _by_rank(scores, known, present, _roc_auc)


def _by_rank(
    scores: Float32[np.ndarray, "F N"],
    known: Bool[np.ndarray, "F N"],
    present: Bool[np.ndarray, "F N"],
    of_curve: Callable[[np.ndarray, np.ndarray], float],
) -> Float[np.ndarray, " N"]:
    values = np.full(scores.shape[1], np.nan)
    for n in range(scores.shape[1]):
        looked_at = np.flatnonzero(known[:, n])
        order = looked_at[np.argsort(-scores[looked_at, n], kind="stable")]
        ordered, positive = scores[order, n], present[order, n]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
        found = np.cumsum(positive)[last].astype(np.float64)
        values[n] = of_curve(found, last + 1 - found)
    return values


def _average_precision(found: np.ndarray, wrong: np.ndarray) -> float:
    """From true and false positives at falling thresholds."""
    if not len(found) or not found[-1]:
        return np.nan
    gained = np.diff(found, prepend=0.0)
    return float((gained / found[-1] * (found / (found + wrong))).sum())


def _roc_auc(found: np.ndarray, wrong: np.ndarray) -> float:
    """From true and false positives at falling thresholds: the area below their curve."""
    if not len(found) or not found[-1] or not wrong[-1]:
        return np.nan
    before = np.append(0.0, found[:-1])
    return float((np.diff(wrong, prepend=0.0) * (found + before) / 2).sum() / found[-1] / wrong[-1])


@dataclasses.dataclass(frozen=True)
class Measure:
    """One kind of number that the report gives.

    Attributes:
        key: its name in ``report.json``.
        title: its heading.
        undefined: what an undefined AU does to a mean: counts 0 (``zero``), as the reference has it for F1,
            or is left out (``skip``).
        of_counts: from counts; None where it comes from ranks.
        which: the counts that it is made from.
    """

    key: str
    title: str
    undefined: Literal["zero", "skip"]
    of_counts: Callable[[Counts], Values] | None = None
    which: Literal["overall", "changing", "baseline"] = "overall"


F1 = Measure("f1", "F1", "zero", f1)
BASELINE = Measure("baseline_f1", "F1 of always present", "zero", f1, "baseline")
MEASURES = (
    F1,
    Measure("f1_defined", "F1, undefined left out", "skip", f1),
    Measure("f1_changing", "F1 where the AU changes", "skip", f1, "changing"),
    Measure("accuracy", "Accuracy", "skip", accuracy),
    Measure("balanced_accuracy", "Balanced accuracy", "skip", balanced_accuracy),
    Measure("mcc", "MCC", "skip", mcc),
    Measure("average_precision", "Average precision", "skip"),
    Measure("roc_auc", "ROC-AUC", "skip"),
    BASELINE,
)
"""All that is measured, in the order of the tables."""

_OF_RANKS = {"average_precision": average_precision, "roc_auc": roc_auc}


def chosen_counts(counts: SubjectCounts, measure: Measure) -> Int64[np.ndarray, "S N 4"]:
    """The counts that a measure is made from."""
    if measure.which == "baseline":
        return always_present(counts.overall)
    return counts.overall if measure.which == "overall" else counts.changing


def values(predictions: Predictions, counts: SubjectCounts) -> Mapping[str, Float[np.ndarray, " N"]]:
    """Every measure of a run, each of every AU, by its key.

    Args:
        predictions: of the run.
        counts: of these predictions.
    """
    known, present = predictions.labels >= 0, predictions.labels == 1
    found = {}
    for measure in MEASURES:
        if measure.of_counts is None:
            found[measure.key] = _OF_RANKS[measure.key](predictions.scores, known, present)
        else:
            found[measure.key] = measure.of_counts(chosen_counts(counts, measure).sum(0))
    return found


def mean_over_aus(measure: Measure, of_aus: Float[np.ndarray, "*batch N"]) -> Float[np.ndarray, "*batch"]:
    """The mean over AUs with the measure's rule for undefined ones; NaN where none is defined.

    Where the rule is ``zero`` the mean is defined even then: it is 0.
    """
    if measure.undefined == "zero":
        return np.asarray(np.nan_to_num(of_aus).mean(-1))
    return mean_of_defined(of_aus, -1)


def mean_of_defined(numbers: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """The mean of what is not NaN along an axis; NaN where all is."""
    defined = ~np.isnan(numbers)
    return _ratio(np.where(defined, numbers, 0.0).sum(axis), defined.sum(axis))


def _ratio(above: ArrayLike, below: ArrayLike) -> Float[np.ndarray, "..."]:
    divisor = np.asarray(below)
    return np.where(divisor > 0, np.asarray(above) / np.where(divisor > 0, divisor, 1), np.nan)
