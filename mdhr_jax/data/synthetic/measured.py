"""Apexes whose sizes follow measured displacements, for the presets that stand in for recorded faces.

The target is the largest displacement of each AU on a public FACS-like blendshape face, in pixels of a face
with 70 px between the eyes. The plain apexes of `apexes` are too weak for 6, 7, 14, 17, 24 and 26 and too
strong for 1, 2, 4 and 15. FACS itself gives no lengths; where the blendshape and FACS disagree FACS is kept:
a jaw that drops behind closed lips (26 without 25) goes about half as far as one that opens the mouth,
the rest comes with parted lips (see `interactions`).
"""

import dataclasses

from mdhr_jax.data.synthetic.apexes import ACTIONS, Action, Bulge, Fold, Move
from mdhr_jax.data.synthetic.fields import bezier
from mdhr_jax.data.synthetic.identity import Identity

TARGET_PX = {
    1: 6.8, 2: 8.8, 4: 6.3, 6: 13.2, 7: 4.0, 9: 11.1, 10: 9.7, 12: 13.8, 14: 7.0, 15: 6.0, 17: 11.9,
    23: 10.0, 24: 5.7, 25: 7.3, 26: 38.0,
}  # fmt: skip
"""Largest displacement at full strength on the blendshape face, pixels at `TARGET_EYE_PX`."""

TARGET_EYE_PX = 70.0
"""Distance between the eyes to which `TARGET_PX` refers, pixels."""

# Factors on the slides and on the relief of the plain apex.
_RESIZED: dict[int, tuple[float, float]] = {
    1: (0.6, 0.9), 2: (0.75, 0.9), 4: (0.54, 0.85), 6: (1.22, 0.9), 7: (1.15, 1.0), 9: (1.05, 0.8),
    10: (0.75, 0.75), 12: (0.75, 0.85), 14: (1.3, 0.9), 15: (0.46, 0.85), 17: (1.25, 0.75), 23: (0.9, 0.6),
    24: (1.35, 0.9), 25: (1.0, 1.0), 26: (1.0, 1.0),
}  # fmt: skip


def measured_action(au: int, face: Identity) -> Action:
    """The apex of one AU in its measured size.

    Args:
        au: a FACS number of `ACTIONS`.
        face: who.
    """
    if au == 26:
        return _jaw_drop(face)
    plain = ACTIONS[au][1](face)
    slide, relief = _RESIZED[au]
    action = dataclasses.replace(
        plain,
        moves=tuple(
            dataclasses.replace(move, shift=(slide * move.shift[0], slide * move.shift[1]))
            for move in plain.moves
        ),
        folds=tuple(dataclasses.replace(fold, depth=relief * fold.depth) for fold in plain.folds),
        bulges=tuple(dataclasses.replace(bulge, height=relief * bulge.height) for bulge in plain.bulges),
        dimples=0.7 * plain.dimples,
    )
    if au == 7:
        action = dataclasses.replace(action, upper_lid=0.3, lower_lid=0.7)
    if au == 25:
        action = dataclasses.replace(action, part_lips=0.145)
    return action


def _jaw_drop(f: Identity) -> Action:
    return Action(
        moves=(
            Move((0.0, f.chin_y - 0.1), (0.8, 0.42), (0.0, 0.32)),
            Move((0.8, 1.1), (0.2, 0.4), (-0.04, 0.03)),
        ),
        folds=(Fold(bezier((0.66, 0.7), (0.72, 0.9), (0.68, 1.15)), 0.06, 0.03),),
        bulges=(Bulge((0.62, 0.95), (0.14, 0.25), -0.05),),
        part_lips=0.015,
        upper_share=0.0,
    )
