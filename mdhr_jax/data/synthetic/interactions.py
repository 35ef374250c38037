"""Where action units meet: their sum is not what the face does."""

from mdhr_jax.data.synthetic.apexes import Action

JAW_PARTS_LIPS = 0.2
"""Extra gap when jaw drop (26) meets parted lips (25); alone, 26 leaves the lips almost together."""

CHEEK_AND_SMILE_NARROW = 0.18
"""Extra rise of the lower lid when 6 meets 12: more than their sum."""


PRESS_CLOSES_LIPS = {23: 0.5, 24: 0.85}
"""Share of any gap between the lips that tightened (23) or pressed (24) lips take away."""


def combine_openings(
    apexes: dict[int, Action], intensities: dict[int, float]
) -> tuple[float, float, float, float]:
    """Lids and lips of a frame, with the interactions of AUs.

    Returns:
        closure of the upper lid, rise of the lower lid, movement of the upper and of the lower lip's edge.
    """
    upper_lid = lower_lid = upper_lip = lower_lip = 0.0
    for au, amount in intensities.items():
        apex = apexes[au]
        upper_lid += amount * apex.upper_lid
        lower_lid += amount * apex.lower_lid
        upper_lip += amount * apex.part_lips * apex.upper_share
        lower_lip += amount * apex.part_lips * (1.0 - apex.upper_share)
    lower_lid += CHEEK_AND_SMILE_NARROW * intensities.get(6, 0.0) * intensities.get(12, 0.0)
    lower_lip += JAW_PARTS_LIPS * intensities.get(25, 0.0) * intensities.get(26, 0.0)
    for au, share in PRESS_CLOSES_LIPS.items():
        left = 1.0 - share * intensities.get(au, 0.0)
        upper_lip, lower_lip = upper_lip * left, lower_lip * left
    return upper_lid, lower_lid, upper_lip, lower_lip
