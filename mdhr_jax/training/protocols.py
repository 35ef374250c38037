"""The two protocols: which frames choose the checkpoint and the thresholds of a run.

``paper``: as the reference does, the checkpoint with the best mean F1 *on the test part*, threshold 0.5.
``honest``: some subjects of the training parts are kept out of training. They choose the checkpoint (best
mean F1 at threshold 0.5) and then, on that checkpoint, a threshold for each AU; the test part is looked at
once, with both.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8

from mdhr_jax.data.records import Video
from mdhr_jax.training.metrics import THRESHOLD

PAPER, HONEST = "paper", "honest"
PROTOCOLS = (PAPER, HONEST)

# Apart from the streams that clips are drawn from, see `mdhr_jax.data.clips`.
_SUBJECT_STREAM = 2


def validation_subjects(videos: Sequence[Video], share: float, seed: int) -> tuple[str, ...]:
    """Subjects to keep out of training: whole subjects, spread over the parts.

    As many as `share` of all, rounded; each part gives its share, and what rounding leaves comes from the
    parts that would otherwise give too few. Who is drawn depends on the seed and the subjects' names only.

    Args:
        videos: of the training parts.
        share: in (0, 1).
        seed: a whole number, not negative.

    Returns:
        Names, part after part, sorted within a part.

    Raises:
        ValueError: there are too few subjects to take so many out, or one subject is in several parts.
    """
    parts: dict[str, set[str]] = {}
    for video in videos:
        parts.setdefault(video.part, set()).add(video.subject)
    total = sum(map(len, parts.values()))
    if total != len(set().union(*parts.values())):
        raise ValueError("a subject of the training parts is in more than one part; name subjects apart")
    wanted = math.floor(share * total + 0.5)
    if not 0 < wanted < total:
        raise ValueError(
            f"config.eval.protocol='honest' keeps {share:g} of the subjects out of training, which of "
            f"{total} training subjects is {wanted}; at least one must validate and one be trained on: "
            "choose another config.eval.validation_share, or data of more subjects"
        )
    names = sorted(parts)
    quotas = {part: wanted * len(parts[part]) / total for part in names}
    given = {part: math.floor(quotas[part]) for part in names}
    # Largest remainders first; of equals the part that comes first.
    for part in sorted(names, key=lambda p: given[p] - quotas[p])[: wanted - sum(given.values())]:
        given[part] += 1
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(_SUBJECT_STREAM,))))
    chosen: list[str] = []
    for part in names:
        members = sorted(parts[part])
        chosen += sorted(members[i] for i in rng.permutation(len(members))[: given[part]].tolist())
    return tuple(chosen)


def fixed_thresholds(au_names: Sequence[str]) -> dict[str, float]:
    """0.5 for every AU."""
    return dict.fromkeys(au_names, THRESHOLD)


def best_thresholds(
    au_names: Sequence[str], scores: Float32[np.ndarray, "F N"], labels: Int8[np.ndarray, "F N"]
) -> dict[str, float]:
    """The threshold of each AU with the largest F1 on these frames.

    F1 changes only where a threshold passes a score, so a threshold lies in the middle between two
    neighbouring scores. 0.5 stays where no other threshold is better, and for an AU that is present in none
    of the frames; of several that are equally good, the one nearest to 0.5 is taken.

    Args:
        au_names: in the order of the columns.
        scores: in [0, 1].
        labels: 0 or 1; anything else is unknown and not looked at.

    Returns:
        AU name to a number in [0, 1] that float32 can hold.
    """
    thresholds = {}
    for n, name in enumerate(au_names):
        known = (labels[:, n] == 0) | (labels[:, n] == 1)
        thresholds[name] = _best_threshold(scores[known, n], labels[known, n] == 1)
    return thresholds


def _best_threshold(scores: Float32[np.ndarray, "K"], present: Bool[np.ndarray, "K"]) -> float:
    positives = int(present.sum())
    if not positives:
        return THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ordered, found = scores[order].astype(np.float64), np.cumsum(present[order])
    # Scores that are equal are present together: a cut lies behind the last of them.
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    f1 = 2 * found[last] / (last + 1 + positives)
    reached = scores >= np.float32(THRESHOLD)
    at_half = 2 * int((present & reached).sum()) / (int(reached.sum()) + positives)
    if at_half >= f1.max():
        return THRESHOLD
    above = ordered[last]
    below = np.append(ordered[last[:-1] + 1], 0.0)
    middle = ((above + below) / 2).astype(np.float32).astype(np.float64)
    # Between neighbouring float32 numbers there is no middle.
    cuts = np.where(middle > below, middle, above)[f1 == f1.max()]
    return float(cuts[np.argmin(np.abs(cuts - THRESHOLD))])


def describe(result: Mapping[str, Any]) -> str:
    """One sentence on the protocol of a result: what was chosen on what.

    Args:
        result: see `mdhr_jax.training.results`.
    """
    held_out = f"{len(result['validation_subjects'])} subjects kept out of training"
    chosen = {
        "test": "the best on the test part itself",
        "validation": f"the best on {held_out}",
        "named": "the one named",
    }[result["selection"]["checkpoint"]]
    thresholds = {
        "fixed": "threshold 0.5",
        "validation": f"a threshold for each AU, chosen on {held_out}",
    }[result["selection"]["thresholds"]]
    return f"protocol {result['protocol']}: checkpoint of step {result['step']}, {chosen}; {thresholds}"
