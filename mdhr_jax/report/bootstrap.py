"""How much a number would change with other subjects: a bootstrap over subjects.

Frames of one face are alike, so what is drawn again is the subject, with all of its frames. The tables'
number is a mean over folds, each of which tests its own subjects; so subjects are drawn fold by fold, as many
as the fold has, and the number is computed anew from their summed counts, in the very same way. Runs of one
fold see the same draws: the difference of two of them is that of a pair.

What is drawn depends on the seed, the fold and the number of subjects, nothing else.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64

from mdhr_jax.report import measures
from mdhr_jax.report.measures import Measure, SubjectCounts

LEVEL = 0.95
"""Share of the resamples that an interval holds, the same share left out on either side."""

FEWEST_SUBJECTS = 2
"""A fold of fewer subjects has no interval."""


def draw(subjects: int, resamples: int, *, seed: int, fold: int) -> Int64[np.ndarray, "B S"]:
    """How often each subject of a fold is in each resample.

    Args:
        subjects: of the fold's test part, at least one.
        resamples: how many sets of subjects to draw.
        seed: a whole number, not negative.
        fold: 1, 2 or 3; folds are drawn independently.

    Returns:
        Whole numbers; each row adds up to `subjects`.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(fold,))))
    drawn = rng.integers(0, subjects, (resamples, subjects))
    cells = drawn + subjects * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * subjects).reshape(resamples, subjects)


def resample(
    counts: SubjectCounts, wanted: Sequence[Measure], times: Int64[np.ndarray, "B S"]
) -> Mapping[str, Float[np.ndarray, "B N"]]:
    """Measures of one run on every resample.

    Args:
        counts: of the run.
        wanted: measures that are made from counts.
        times: see `draw`; subjects in the order of the counts.

    Returns:
        By the measure's key.
    """
    totals: dict[str, np.ndarray] = {}
    made: dict[tuple, np.ndarray] = {}
    found = {}
    for measure in wanted:
        if measure.of_counts is None:
            raise ValueError(f"{measure.key} is not made from counts")
        if measure.which not in totals:
            chosen = np.moveaxis(measures.chosen_counts(counts, measure), -1, 1)
            # Whole numbers below 2**53: exact in any order of adding, so the same on every machine.
            flat = times.astype(np.float64) @ chosen.reshape(len(chosen), -1).astype(np.float64)
            totals[measure.which] = np.moveaxis(flat.reshape(len(times), *chosen.shape[1:]), 1, -1)
        # Measures that differ only in how they treat what is undefined are the same here.
        key = (measure.of_counts, measure.which)
        if key not in made:
            made[key] = measure.of_counts(totals[measure.which])
        found[measure.key] = made[key]
    return found


def interval(numbers: Float[np.ndarray, " B"]) -> tuple[float, float] | None:
    """Percentile interval of a bootstrap at `LEVEL`.

    Args:
        numbers: of each resample; NaN, where it was not defined on one, is left out.

    Returns:
        Lower and upper end; None where no resample had a number.
    """
    defined = numbers[~np.isnan(numbers)]
    if not len(defined):
        return None
    lower, upper = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(lower), float(upper)
