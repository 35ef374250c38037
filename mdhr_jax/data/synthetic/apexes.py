"""What each action unit does to a face at full strength: skin that slides, relief that folds, lids, lips.

Directions and places follow FACS (Ekman, Friesen and Hager 2002). An `Action` is the apex, intensity 1;
`actions` turns it into fields over the face, `interactions` says how several of them meet.
All lengths are eye units (see `fields`).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from mdhr_jax.data.synthetic.fields import Point, bezier
from mdhr_jax.data.synthetic.identity import Identity


@dataclasses.dataclass(frozen=True)
class Move:
    """Skin around `centre` slides by `shift`, fading as a Gaussian of `spread`; mirrored to the other side.

    A move in the middle of the face (`centre` at x = 0) is not mirrored.
    """

    centre: Point
    spread: Point
    shift: Point


@dataclasses.dataclass(frozen=True)
class Fold:
    """A furrow (`depth` > 0) or ridge (`depth` < 0) along `points`, mirrored unless `single`."""

    points: tuple[Point, ...]
    width: float
    depth: float
    single: bool = False


@dataclasses.dataclass(frozen=True)
class Bulge:
    """A bump of the relief, mirrored unless it lies in the middle of the face."""

    centre: Point
    spread: Point
    height: float


@dataclasses.dataclass(frozen=True)
class Action:
    """One AU at its apex on one face.

    Attributes:
        moves: how the skin slides.
        folds: furrows and ridges.
        bulges: bumps.
        upper_lid: how far the upper lid closes, as a share of the whole opening; negative opens.
        lower_lid: how far the lower lid rises, as a share of its own height.
        part_lips: height of the gap between the lips.
        upper_share: share of that gap made by the upper lip.
        dimples: depth of the orange-peel texture of the chin.
        blanch: how much paler the lips become, 0 to 1.
    """

    moves: tuple[Move, ...] = ()
    folds: tuple[Fold, ...] = ()
    bulges: tuple[Bulge, ...] = ()
    upper_lid: float = 0.0
    lower_lid: float = 0.0
    part_lips: float = 0.0
    upper_share: float = 0.4
    dimples: float = 0.0
    blanch: float = 0.0


def _au1(f: Identity) -> Action:
    x, y = f.brow_point(0.1)
    folds = tuple(
        Fold(bezier((-0.34, y - d + 0.05), (0.0, y - d - 0.06), (0.34, y - d + 0.05)), 0.017, 0.022, True)
        for d in (0.15, 0.25, 0.35)
    )
    return Action(
        moves=(
            Move((x, y), (0.17, 0.16), (0.015, -0.125)),
            Move((0.0, y - 0.25), (0.3, 0.12), (0.0, -0.04)),
        ),
        folds=folds,
    )


def _au2(f: Identity) -> Action:
    x, y = f.brow_point(0.78)
    folds = tuple(
        Fold(bezier((0.36, y - d), (0.66, y - d - 0.09), (0.95, y - d + 0.08)), 0.017, 0.02)
        for d in (0.13, 0.22)
    )
    return Action(moves=(Move((x, y), (0.24, 0.18), (0.01, -0.15)),), folds=folds, upper_lid=-0.08)


def _au4(f: Identity) -> Action:
    x, y = f.brow_point(0.15)
    mid_x, mid_y = f.brow_point(0.55)
    return Action(
        moves=(
            Move((x, y), (0.2, 0.15), (-0.075, 0.095)),
            Move((mid_x, mid_y), (0.22, 0.14), (-0.03, 0.055)),
        ),
        folds=(
            Fold(bezier((0.085, y - 0.16), (0.055, y), (0.1, y + 0.14)), 0.017, 0.034),
            Fold(((-0.1, y + 0.22), (0.0, y + 0.24), (0.1, y + 0.22)), 0.015, 0.02, True),
        ),
        bulges=(Bulge((0.0, y), (0.03, 0.1), 0.02), Bulge((0.2, y - 0.05), (0.06, 0.07), 0.022)),
        upper_lid=0.1,
    )


def _au6(f: Identity) -> Action:
    x = 0.5 + f.eye_half_width
    feet = tuple(
        Fold(bezier((x + 0.03, 0.03 * k), (x + 0.13, 0.07 * k), (x + 0.22, 0.12 * k)), 0.012, 0.024)
        for k in (-1, 0, 1)
    )
    return Action(
        moves=(
            Move((0.6, 0.46), (0.26, 0.2), (0.0, -0.135)),
            Move((0.84, 0.08), (0.13, 0.18), (-0.045, -0.01)),
        ),
        folds=(*feet, Fold(bezier((0.26, 0.13), (0.5, 0.25), (0.8, 0.16)), 0.02, 0.034)),
        bulges=(Bulge((0.58, 0.38), (0.2, 0.1), 0.06),),
        upper_lid=0.06,
        lower_lid=0.45,
    )


def _au7(f: Identity) -> Action:
    low = f.eye_lower
    return Action(
        moves=(
            Move((0.5, low + 0.05), (0.2, 0.06), (0.0, -0.045)),
            Move((0.5, -f.eye_upper - 0.05), (0.2, 0.06), (0.0, 0.03)),
        ),
        folds=(
            Fold(bezier((0.3, low + 0.06), (0.5, low + 0.09), (0.72, low + 0.05)), 0.012, 0.02),
            Fold(bezier((0.3, low + 0.01), (0.5, low + 0.045), (0.7, low + 0.01)), 0.014, -0.014),
        ),
        upper_lid=0.26,
        lower_lid=0.62,
    )


def _au9(f: Identity) -> Action:
    x, y = f.brow_point(0.05)
    root = tuple(
        Fold(bezier((-0.13, d), (0.0, d - 0.03), (0.13, d)), 0.014, 0.03, True) for d in (-0.08, 0.0, 0.08)
    )
    sides = tuple(
        Fold(bezier((0.1, 0.16 + d), (0.16, 0.19 + d), (0.2, 0.28 + d)), 0.013, 0.024) for d in (0.0, 0.09)
    )
    return Action(
        moves=(
            Move((0.14, 0.36), (0.13, 0.2), (0.0, -0.1)),
            Move((f.nose_width, f.nose_y), (0.12, 0.12), (0.03, -0.11)),
            Move((0.14, f.mouth_y - 0.12), (0.16, 0.1), (0.0, -0.06)),
            Move((x, y), (0.16, 0.13), (-0.03, 0.07)),
        ),
        folds=(
            *root,
            *sides,
            Fold(
                bezier(
                    (f.nose_width - 0.02, f.nose_y - 0.16),
                    (f.nose_width + 0.1, f.nose_y - 0.1),
                    (f.nose_width + 0.14, f.nose_y + 0.14),
                ),
                0.02,
                0.04,
            ),
        ),
        bulges=(Bulge((0.13, 0.3), (0.05, 0.1), 0.03),),
        upper_lid=0.1,
        lower_lid=0.25,
    )


def _au10(f: Identity) -> Action:
    top = f.mouth_y - f.lip_upper
    return Action(
        moves=(
            Move((0.15, top), (0.15, 0.12), (0.01, -0.105)),
            Move((0.36, f.nose_y + 0.02), (0.15, 0.17), (0.0, -0.075)),
            Move((f.nose_width, f.nose_y), (0.1, 0.08), (0.025, -0.03)),
        ),
        folds=(
            Fold(
                bezier(
                    (f.nose_width + 0.03, f.nose_y - 0.1),
                    (f.nose_width + 0.27, f.nose_y + 0.03),
                    (f.mouth_half_width + 0.05, f.mouth_y - 0.05),
                ),
                0.022,
                0.05,
            ),
        ),
        bulges=(Bulge((0.46, f.nose_y - 0.08), (0.11, 0.09), 0.04),),
        part_lips=0.055,
        upper_share=1.0,
    )


def _au12(f: Identity) -> Action:
    x, y = f.mouth_corner
    return Action(
        moves=(
            Move((x, y), (0.19, 0.17), (0.12, -0.15)),
            Move((0.62, 0.66), (0.24, 0.2), (0.03, -0.07)),
        ),
        folds=(
            Fold(
                bezier(
                    (f.nose_width + 0.04, f.nose_y - 0.06), (x + 0.1, f.nose_y + 0.12), (x + 0.14, y + 0.1)
                ),
                0.025,
                0.05,
            ),
            Fold(bezier((x + 0.03, y - 0.05), (x + 0.05, y), (x + 0.02, y + 0.05)), 0.014, 0.02),
        ),
        bulges=(Bulge((0.66, 0.58), (0.17, 0.14), 0.07),),
        lower_lid=0.12,
    )


def _au14(f: Identity) -> Action:
    x, y = f.mouth_corner
    return Action(
        moves=(
            Move((x + 0.17, y), (0.11, 0.16), (-0.09, 0.0)),
            Move((x - 0.02, y), (0.09, 0.1), (0.025, -0.015)),
        ),
        folds=(
            Fold(bezier((x + 0.055, y - 0.13), (x + 0.11, y), (x + 0.055, y + 0.11)), 0.02, 0.07),
            Fold(bezier((x + 0.13, y - 0.15), (x + 0.21, y), (x + 0.13, y + 0.14)), 0.035, -0.035),
        ),
        bulges=(Bulge((x, y), (0.03, 0.03), -0.04),),
    )


def _au15(f: Identity) -> Action:
    x, y = f.mouth_corner
    return Action(
        moves=(
            Move((x, y), (0.13, 0.12), (0.015, 0.125)),
            Move((x + 0.02, y + 0.22), (0.14, 0.14), (0.01, 0.05)),
        ),
        folds=(
            Fold(bezier((x + 0.02, y + 0.03), (x + 0.09, y + 0.12), (x + 0.05, y + 0.28)), 0.018, 0.042),
            Fold(((x - 0.14, y + 0.17), (x - 0.02, y + 0.14)), 0.02, 0.02),
        ),
        bulges=(Bulge((x - 0.05, y + 0.15), (0.07, 0.05), 0.03),),
    )


def _au17(f: Identity) -> Action:
    low = f.mouth_y + f.lip_lower
    return Action(
        moves=(
            Move((0.0, f.chin_y - 0.3), (0.24, 0.17), (0.0, -0.13)),
            Move((0.0, low - 0.02), (0.22, 0.08), (0.0, -0.07)),
        ),
        folds=(Fold(bezier((-0.24, low + 0.13), (0.0, low + 0.05), (0.24, low + 0.13)), 0.024, 0.05, True),),
        bulges=(Bulge((0.0, f.chin_y - 0.28), (0.17, 0.11), 0.06),),
        dimples=0.016,
    )


def _au23(f: Identity) -> Action:
    x, y = f.mouth_corner
    upper, lower = f.mouth_y - f.lip_upper, f.mouth_y + f.lip_lower
    wrinkles = tuple(
        Fold(((k, edge), (k * 1.12, edge + away)), 0.013, 0.034)
        for k in (0.05, 0.13, 0.21, 0.29)
        for edge, away in ((upper + 0.03, -0.12), (lower - 0.03, 0.11))
    )
    return Action(
        moves=(
            Move((x, y), (0.19, 0.14), (-0.14, 0.0)),
            Move((0.0, upper - 0.02), (0.26, 0.05), (0.0, 0.4 * f.lip_upper)),
            Move((0.0, lower + 0.02), (0.26, 0.05), (0.0, -0.42 * f.lip_lower)),
        ),
        folds=wrinkles,
        bulges=(Bulge((0.0, f.mouth_y), (0.2, 0.09), 0.05),),
    )


def _au24(f: Identity) -> Action:
    x, y = f.mouth_corner
    upper, lower = f.mouth_y - f.lip_upper, f.mouth_y + f.lip_lower
    line = tuple((t * (x + 0.04), f.mouth_y + f.mouth_curve * t * t) for t in np.linspace(-1, 1, 9).tolist())
    return Action(
        moves=(
            Move((0.0, upper - 0.02), (0.36, 0.06), (0.0, 0.62 * f.lip_upper)),
            Move((0.0, lower + 0.02), (0.34, 0.06), (0.0, -0.62 * f.lip_lower)),
            Move((x, y), (0.1, 0.1), (0.03, 0.0)),
        ),
        folds=(
            Fold(line, 0.016, 0.05, True),
            Fold(bezier((-0.3, lower + 0.05), (0.0, lower + 0.1), (0.3, lower + 0.05)), 0.022, 0.035, True),
        ),
        bulges=(
            Bulge((0.18, upper - 0.05), (0.14, 0.04), 0.035),
            Bulge((0.16, lower + 0.01), (0.14, 0.035), 0.03),
        ),
        blanch=0.5,
    )


def _au25(f: Identity) -> Action:
    return Action(
        moves=(Move((0.0, f.mouth_y + f.lip_lower + 0.1), (0.28, 0.14), (0.0, 0.03)),),
        part_lips=0.12,
        upper_share=0.35,
    )


def _au26(f: Identity) -> Action:
    return Action(
        moves=(
            Move((0.0, f.chin_y - 0.05), (0.62, 0.36), (0.0, 0.27)),
            Move((0.8, 1.1), (0.2, 0.4), (-0.03, 0.02)),
        ),
        folds=(Fold(bezier((0.66, 0.7), (0.72, 0.9), (0.68, 1.15)), 0.06, 0.03),),
        part_lips=0.015,
        upper_share=0.0,
    )


ACTIONS: dict[int, tuple[str, Callable[[Identity], Action]]] = {
    1: ("inner brow raiser", _au1),
    2: ("outer brow raiser", _au2),
    4: ("brow lowerer", _au4),
    6: ("cheek raiser", _au6),
    7: ("lid tightener", _au7),
    9: ("nose wrinkler", _au9),
    10: ("upper lip raiser", _au10),
    12: ("lip corner puller", _au12),
    14: ("dimpler", _au14),
    15: ("lip corner depressor", _au15),
    17: ("chin raiser", _au17),
    23: ("lip tightener", _au23),
    24: ("lip pressor", _au24),
    25: ("lips part", _au25),
    26: ("jaw drop", _au26),
}
"""FACS number to name and to the action at apex on a given face."""
