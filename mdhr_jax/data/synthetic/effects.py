"""How much each AU changes the picture, where, how far it moves the face, and whether a still betrays it.

    python -m mdhr_jax.data.synthetic.effects --preset realistic --report effects.md

Every AU is drawn alone at its apex and compared with the neutral face of the same subject in the same light,
without noise, head motion or blinks. Two definitions of an AU's own region are measured: a box that holds
what FACS describes, against the rest of the picture; and the band of the AU table (`facs.band_rows`), against
the rows outside it.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from mdhr_jax import commands, facs
from mdhr_jax.data.synthetic import actions, ambiguity, distractors, generator
from mdhr_jax.data.synthetic.measured import TARGET_EYE_PX, TARGET_PX
from mdhr_jax.data.synthetic.render import EYE_DISTANCE, EYE_HEIGHT, Renderer

REGIONS: dict[int, tuple[float, float, float, float]] = {
    1: (-0.7, -0.83, 0.7, -0.02),
    2: (-1.1, -0.83, 1.1, 0.05),
    4: (-1.0, -0.65, 1.0, 0.1),
    6: (-1.1, -0.2, 1.1, 0.85),
    7: (-0.9, -0.3, 0.9, 0.3),
    9: (-0.7, -0.5, 0.7, 1.1),
    10: (-0.75, 0.4, 0.75, 1.25),
    12: (-0.95, 0.4, 0.95, 1.35),
    14: (-0.85, 0.8, 0.85, 1.4),
    15: (-0.75, 0.8, 0.75, 1.6),
    17: (-0.65, 0.95, 0.65, 1.9),
    23: (-0.7, 0.8, 0.7, 1.4),
    24: (-0.7, 0.8, 0.7, 1.45),
    25: (-0.65, 0.8, 0.65, 1.6),
    26: (-1.2, 0.8, 1.2, 2.03),
}
"""Left, top, right, bottom of the part of the face in which FACS sees an AU act, eye units.

Brows and forehead for 1, 2, 4; eyes and cheeks for 6; lids for 7; nose, root to upper lip, for 9; around
the mouth, with cheek or chin where the muscle pulls from there, for the others; the whole jaw for 26.
"""

AUS = tuple(actions.ACTIONS)
"""AUs that the command measures."""

LEAST_RMS = 3.0
"""Change that every AU must make in its own region, grey levels."""

MOST_ELSEWHERE = 1.0 / 3.0
"""Change that it may make elsewhere, relative to that in its own region."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one AU does at its apex, over several subjects.

    Attributes:
        au: FACS number.
        own: change inside the AU's box, root mean square over pixels, colours and subjects, grey levels.
        own_least: of the subject on whom it shows least.
        rest: change outside the box.
        rest_share: largest ratio of the two on one subject.
        band: change in the rows of the AU's band.
        other_bands: change in the other rows.
        noise: sensor noise of the preset's noisiest video, grey levels.
        shift: largest displacement of skin, lids or lips, mean over subjects, pixels of a face with
            `measured.TARGET_EYE_PX` between the eyes.
        shift_range: smallest and largest of a subject.
    """

    au: int
    own: float
    own_least: float
    rest: float
    rest_share: float
    band: float
    other_bands: float
    noise: float
    shift: float
    shift_range: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the change is large, local, and above the noise."""
        return self.own >= max(LEAST_RMS, self.noise) and self.rest < MOST_ELSEWHERE * self.own


def region_mask(au: int, size: int) -> Bool[np.ndarray, "S S"]:
    """The pixels of an AU's box in the canonical crop."""
    left, top, right, bottom = REGIONS[au]
    x = (np.arange(size) + 0.5 - 0.5 * size) / (EYE_DISTANCE * size)
    y = (np.arange(size) + 0.5 - EYE_HEIGHT * size) / (EYE_DISTANCE * size)
    return np.outer((y > top) & (y < bottom), (x > left) & (x < right))


def band_mask(au: int, size: int) -> Bool[np.ndarray, "S S"]:
    """The pixels of the AU's band in the table of the data set that labels it."""
    bands = {a: region.band for region in _au_set(au).regions for a in region.aus}
    mask = np.zeros((size, size), bool)
    mask[facs.band_rows(bands[au], size)] = True
    return mask


def _like(au: int) -> str:
    return "bp4d" if au in facs.get("synthetic_bp4d").aus else "disfa"


def _au_set(au: int) -> facs.AUSet:
    return facs.get(f"synthetic_{_like(au)}")


def measure(au: int, preset: str, *, subjects: int = 12, seed: int = 0, size: int = 224) -> Effect:
    """Measures one AU on the first subjects of a preset.

    Args:
        au: FACS number.
        preset: see `generator.PRESETS`.
        subjects: how many, at least three.
        seed: of the faces.
        size: side of the pictures, pixels.

    Raises:
        ValueError: the generator cannot draw that AU, or there is no such preset.
    """
    if au not in actions.ACTIONS:
        raise ValueError(f"the synthetic face has no AU{au}")
    spec = generator.SyntheticSpec(
        like=_like(au), preset=preset, seed=seed, subjects=subjects, videos_per_subject=1, size=size
    )
    box, band = region_mask(au, size), band_mask(au, size)
    squares, shifts = [], []
    for video in spec.videos():
        rest = generator.apex_picture(spec, video, {}).astype(np.float64)
        change = ((generator.apex_picture(spec, video, {au: 1.0}) - rest) ** 2).mean(-1)
        squares.append([change[mask].mean() for mask in (box, ~box, band, ~band)])
        shifts.append(largest_shift(generator.neutral_renderer(spec, video), {au: 1.0}))
    each = np.asarray(squares)
    own, rest, band_own, band_rest = np.sqrt(each.mean(0)).tolist()
    noise = generator.get_preset(preset).distractors
    return Effect(
        au,
        own,
        float(np.sqrt(each[:, 0].min())),
        rest,
        float(np.sqrt((each[:, 1] / each[:, 0]).max())),
        band_own,
        band_rest,
        float(noise.noise * np.exp(noise.noise_spread)),
        float(np.mean(shifts)),
        (min(shifts), max(shifts)),
    )


def largest_shift(renderer: Renderer, state: Mapping[int, float]) -> float:
    """How far the given intensities (FACS number to [0, 1]) move a face, pixels at the target's scale.

    The largest of the sliding skin and of the landmarks, which lids and lips move too.
    """
    skin = np.hypot(*renderer.skin_slide(state)).max() * TARGET_EYE_PX
    still = distractors.still(1)
    apart = renderer.frame(state, still, 0)[1] - renderer.frame({}, still, 0)[1]
    points = np.hypot(*apart.T).max() * TARGET_EYE_PX / (EYE_DISTANCE * renderer.size)
    return float(max(skin, points))


def open_mouth(preset: str, subjects: int, seed: int = 0) -> float:
    """Largest displacement by 25 and 26 together, mean over subjects, pixels at the target's scale.

    The target of 26 was measured on a jaw that opens the mouth.
    """
    spec = generator.SyntheticSpec("disfa", preset, seed, subjects, 1, size=224)
    shifts = [largest_shift(generator.neutral_renderer(spec, v), {25: 1.0, 26: 1.0}) for v in spec.videos()]
    return float(np.mean(shifts))


def table(effects: Sequence[Effect]) -> str:
    """The measurements as a Markdown table."""
    lines = [
        "| AU | own box | least subject | elsewhere | share | band | other bands | noise | displacement px "
        "(range) | target | holds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for e in effects:
        low, high = e.shift_range
        lines.append(
            f"| {e.au} | {e.own:.1f} | {e.own_least:.1f} | {e.rest:.2f} | {e.rest / e.own:.2f} "
            f"| {e.band:.1f} | {e.other_bands:.1f} | {e.noise:.1f} | {e.shift:.1f} ({low:.1f}-{high:.1f}) "
            f"| {TARGET_PX[e.au]:.1f} | {'yes' if e.holds else '**no**'} |"
        )
    return "\n".join(lines)


def ambiguity_table(preset: str, subjects: int, seed: int = 0) -> str:
    """How ambiguous stills are, as a Markdown table; each AU in the AU set that labels it."""
    found: dict[int, ambiguity.Ambiguity] = {}
    for like in generator.LIKES:
        for au, entry in ambiguity.measure(preset, like, subjects=subjects, seed=seed).items():
            found.setdefault(au, entry)
    lines = [
        "| AU at 0.5 | still against other neutral faces (AUC) | moves its own subject's way "
        "| change, eye units | spread of neutral faces |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {e.au} | {e.between:.2f} | {e.within:.2f} | {e.shift:+.3f} | {e.spread:.3f} |"
        for _, e in sorted(found.items())
    ]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic.effects",
        description="Measures how much each action unit changes a synthetic face, and where.",
    )
    parser.add_argument("--preset", default="realistic", help=f"one of {', '.join(generator.PRESETS)}")
    parser.add_argument("--subjects", type=int, default=12, help="number of subjects, at least 3")
    parser.add_argument("--seed", type=int, default=0, help="start of all randomness, from 0")
    parser.add_argument("--report", type=Path, help="Markdown file that receives the table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 where an AU shows too little or too far away, 2 after a mistake."""
    arguments = _parser().parse_args(argv)

    def run() -> int:
        effects = []
        for au in AUS:
            effects.append(measure(au, arguments.preset, subjects=arguments.subjects, seed=arguments.seed))
            print(f"AU{au}: {effects[-1].own:.1f} grey levels, {effects[-1].shift:.1f} px", file=sys.stderr)
        text = table(effects)
        jaw = open_mouth(arguments.preset, arguments.subjects, arguments.seed)
        text += f"\n\nAU25 and AU26 together: {jaw:.1f} px."
        text += "\n\n" + ambiguity_table(arguments.preset, arguments.subjects, arguments.seed)
        title = f"Effects of AUs at apex, preset `{arguments.preset}`, {arguments.subjects} subjects"
        print(text)
        if arguments.report is not None:
            arguments.report.write_text(f"# {title}\n\nRoot mean squares in grey levels.\n\n{text}\n")
        return commands.DONE if all(effect.holds for effect in effects) else commands.FAILED

    return commands.finish(run)


if __name__ == "__main__":
    sys.exit(main())
