"""How far a still face gives an AU away: the shape of one frame against the neutral shapes of all subjects.

For each AU one distance between landmarks that FACS describes is taken. If neutral faces differ in it as much
as the AU changes it, a single frame is ambiguous; against the subject's own neutral face it is not.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mdhr_jax.data.synthetic import distractors, generator
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES
from mdhr_jax.data.synthetic.render import EYE_DISTANCE

# Axis (0 across, 1 down) and the two landmarks whose distance is taken; * averages left and right.
_DISTANCES: dict[int, tuple[int, str, str]] = {
    1: (1, "eye_*_centre", "brow_*_inner"),
    2: (1, "eye_*_centre", "brow_*_outer"),
    4: (1, "eye_*_centre", "brow_*_inner"),
    6: (1, "eye_*_upper", "eye_*_lower"),
    7: (1, "eye_*_upper", "eye_*_lower"),
    9: (1, "eye_*_centre", "nose_*"),
    10: (1, "nose_*", "lip_upper_top"),
    12: (1, "lip_upper_bottom", "mouth_*"),
    14: (0, "mouth_left", "mouth_right"),
    15: (1, "lip_upper_bottom", "mouth_*"),
    17: (1, "lip_lower_bottom", "chin"),
    23: (0, "mouth_left", "mouth_right"),
    24: (1, "lip_upper_top", "lip_lower_bottom"),
    25: (1, "lip_upper_bottom", "lip_lower_top"),
    26: (1, "eye_*_centre", "chin"),
}


@dataclasses.dataclass(frozen=True)
class Ambiguity:
    """How well one distance tells an active AU from a neutral face.

    Attributes:
        au: FACS number.
        between: area under the ROC curve when any subject's active face is held against any other's neutral
            one: 1 where a still gives the AU away, 0.5 where it says nothing.
        within: share of subjects on whom the AU moves the distance the usual way from their own neutral face.
        shift: mean change by the AU, eye units.
        spread: standard deviation of the distance over neutral faces, eye units.
    """

    au: int
    between: float
    within: float
    shift: float
    spread: float


def _distances(points: np.ndarray, size: int) -> dict[int, float]:
    def place(name: str) -> np.ndarray:
        names = [name.replace("*", side) for side in ("left", "right")]
        return points[[LANDMARK_NAMES.index(n) for n in names]].mean(0) / (EYE_DISTANCE * size)

    return {
        au: float((place(second) - place(first))[axis]) for au, (axis, first, second) in _DISTANCES.items()
    }


def measure(
    preset: str, like: str, *, subjects: int = 30, intensity: float = 0.5, seed: int = 0
) -> Mapping[int, Ambiguity]:
    """Measures all AUs of an AU set, by FACS number.

    Args:
        preset: see `generator.PRESETS`.
        like: whose AUs, ``bp4d`` or ``disfa``.
        subjects: how many.
        intensity: of the AU, which acts alone.
        seed: of the faces.
    """
    # Landmarks do not depend on the size of the picture, up to rounding of the warp's grid.
    spec = generator.SyntheticSpec(
        like=like, preset=preset, seed=seed, subjects=subjects, videos_per_subject=1, size=64
    )
    still = distractors.still(1)
    rest, active = [], {au: [] for au in spec.au_set.aus}
    for video in spec.videos():
        renderer = generator.neutral_renderer(spec, video)
        rest.append(_distances(renderer.frame({}, still, 0)[1], spec.size))
        for au, found in active.items():
            found.append(_distances(renderer.frame({au: intensity}, still, 0)[1], spec.size)[au])
    result = {}
    for au, found in active.items():
        neutral, moved = np.asarray([distances[au] for distances in rest]), np.asarray(found)
        change = moved - neutral
        way = np.sign(change.mean())
        others = ~np.eye(subjects, dtype=bool)
        between = (way * (moved[:, None] - neutral[None]) > 0)[others].mean()
        result[au] = Ambiguity(
            au, float(between), float((way * change > 0).mean()), float(change.mean()), float(neutral.std())
        )
    return result
