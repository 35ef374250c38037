"""Where action units meet: their sum is not what the face does (FACS manual, combinations of AUs)."""

import dataclasses
from collections.abc import Callable, Mapping

from mdhr_jax.data.synthetic.apexes import Action, Fold, Move
from mdhr_jax.data.synthetic.fields import bezier
from mdhr_jax.data.synthetic.identity import Identity

Unit = int | tuple[int, int]
"""An AU, or a pair whose joint action adds to those of its members."""


@dataclasses.dataclass(frozen=True)
class Interactions:
    """What combinations do beyond the sum of their AUs.

    Attributes:
        jaw_parts_lips: extra gap when jaw drop (26) meets parted lips (25), eye units; alone, 26 leaves
            the lips almost together.
        cheek_and_smile_narrow: extra rise of the lower lid when 6 meets 12, as a share of its height.
        press_closes_lips: share of any gap between the lips that tightened (23) or pressed (24) lips take.
        pairs: what a pair adds, weighted with the product of the intensities.
    """

    jaw_parts_lips: float = 0.2
    cheek_and_smile_narrow: float = 0.18
    press_closes_lips: tuple[tuple[int, float], ...] = ((23, 0.5), (24, 0.85))
    pairs: Mapping[tuple[int, int], Callable[[Identity], Action]] = dataclasses.field(default_factory=dict)


def _brows_oblique(f: Identity) -> Action:
    """1+4: the inner ends rise further together than the lowering lets 1 do, the middles stay low."""
    x, y = f.brow_point(0.08)
    mid_x, mid_y = f.brow_point(0.6)
    oblique = Fold(bezier((0.16, y - 0.1), (0.3, y - 0.17), (0.5, y - 0.1)), 0.016, 0.02)
    return Action(
        moves=(
            Move((x, y), (0.14, 0.13), (-0.02, -0.05)),
            Move((mid_x, mid_y), (0.2, 0.13), (-0.02, 0.025)),
        ),
        folds=(oblique,),
    )


def _mouth_open(f: Identity) -> Action:
    """25+26: lips that part let the jaw drop as far again."""
    return Action(moves=(Move((0.0, f.chin_y - 0.1), (0.8, 0.42), (0.0, 0.22)),))


PLAIN = Interactions()
"""Of the preset ``easy``."""

FULL = Interactions(jaw_parts_lips=0.28, pairs={(1, 4): _brows_oblique, (25, 26): _mouth_open})
"""Of the presets with measured apexes."""


def with_pairs(rules: Interactions, intensities: Mapping[int, float]) -> dict[Unit, float]:
    """Strength of every AU and of every pair that acts."""
    units: dict[Unit, float] = {**intensities}
    for first, second in rules.pairs:
        both = intensities.get(first, 0.0) * intensities.get(second, 0.0)
        if both > 0.0:
            units[first, second] = both
    return units


def combine_openings(
    apexes: Mapping[Unit, Action], strengths: Mapping[Unit, float], rules: Interactions = PLAIN
) -> tuple[float, float, float, float]:
    """Lids and lips of a frame, with the interactions of AUs.

    Returns:
        closure of the upper lid, rise of the lower lid, movement of the upper and of the lower lip's edge.
    """
    upper_lid = lower_lid = upper_lip = lower_lip = 0.0
    for unit, amount in strengths.items():
        apex = apexes[unit]
        upper_lid += amount * apex.upper_lid
        lower_lid += amount * apex.lower_lid
        upper_lip += amount * apex.part_lips * apex.upper_share
        lower_lip += amount * apex.part_lips * (1.0 - apex.upper_share)
    lower_lid += rules.cheek_and_smile_narrow * strengths.get(6, 0.0) * strengths.get(12, 0.0)
    lower_lip += rules.jaw_parts_lips * strengths.get(25, 0.0) * strengths.get(26, 0.0)
    for au, share in rules.press_closes_lips:
        left = 1.0 - share * strengths.get(au, 0.0)
        upper_lip, lower_lip = upper_lip * left, lower_lip * left
    return upper_lid, lower_lid, upper_lip, lower_lip
