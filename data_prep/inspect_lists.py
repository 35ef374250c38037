"""What the reference's lists hold: their statistics, and what in them contradicts itself."""

from typing import Any

import numpy as np

from data_prep import statistics
from data_prep.raw import VideoProblem
from data_prep.reference_lists import ReferenceLists
from mdhr_jax import facs

SHOWN_MISMATCHES = 10
"""Region labels that are listed one by one where they contradict the AU labels."""

# Half of the last decimal that the reference prints.
_WEIGHT_TOLERANCE = 0.5 * 10**-statistics.DIGITS


def of_lists(lists: ReferenceLists, clip_length: int = statistics.CLIP_LENGTH) -> dict[str, Any]:
    """The statistics of the reference's lists as JSON.

    Windows are cut as the reference's loader does: jumps of the frame numbers end one in BP4D, not in DISFA.

    Args:
        lists: without problems.
        clip_length: frames of a window.

    Raises:
        ValueError: the clip length is less than 1.
    """
    folds = {number: (fold.train.videos, fold.test.videos) for number, fold in lists.folds.items()}
    splits = lists.au_set == facs.BP4D
    report = statistics.of_folds(lists.au_set, folds, clip_length, split_on_jumps=splits)
    if lists.region_mismatches is not None:
        report["region_label_mismatches"] = len(lists.region_mismatches)
        if lists.region_mismatches:
            shown = lists.region_mismatches[:SHOWN_MISMATCHES]
            report["first_region_label_mismatches"] = [
                {"file": problem.file.name, "line": problem.line, "text": problem.text} for problem in shown
            ]
    return report


def weight_problems(lists: ReferenceLists) -> tuple[VideoProblem, ...]:
    """Loss weights of the lists that do not follow from their training labels, to the decimals printed."""
    problems = []
    for fold in lists.folds.values():
        if fold.weights is None or fold.weights_file is None:
            continue
        expected = statistics.weights_from_rates(statistics.rates(lists.au_set, fold.train.videos))
        rounded = np.round(expected, statistics.DIGITS)
        for i in np.flatnonzero(np.abs(fold.weights - rounded) > _WEIGHT_TOLERANCE).tolist():
            name = lists.au_set.au_names[i]
            text = f"the weight of {name} is {fold.weights[i]:.6f}, the training labels give {rounded[i]:.6f}"
            problems.append(VideoProblem("", fold.weights_file, text, line=1))
    return tuple(problems)


def contradictions(lists: ReferenceLists) -> list[VideoProblem]:
    """Region labels and loss weights that do not follow from the AU labels; many are summed up."""
    mismatches = lists.region_mismatches or ()
    found = [*weight_problems(lists), *mismatches[:SHOWN_MISMATCHES]]
    if len(mismatches) > SHOWN_MISMATCHES:
        text = f"{len(mismatches)} region labels do not follow from the AU labels"
        found.append(VideoProblem("", lists.root, text))
    return found
