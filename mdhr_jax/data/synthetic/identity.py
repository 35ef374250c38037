"""Who a synthetic subject is: the geometry and colours of one neutral face.

All lengths are in eye units (see `fields`). Nothing here knows about AUs, time or pixels.
"""

import dataclasses

import numpy as np

from mdhr_jax.data.synthetic.fields import Point

Colour = tuple[float | int, float | int, float | int]

# Skin from light to dark, and hair, iris, shirt and wall colours, in sRGB grey levels.
_SKIN: tuple[Colour, ...] = ((240, 205, 182), (226, 182, 152), (204, 154, 120), (164, 116, 84), (112, 76, 56))
_HAIR: tuple[Colour, ...] = (
    (28, 24, 24),
    (58, 38, 28),
    (96, 64, 40),
    (150, 108, 62),
    (196, 160, 104),
    (120, 58, 34),
)
_GREY_HAIR: Colour = (150, 148, 146)
_IRIS: tuple[Colour, ...] = ((70, 44, 26), (96, 66, 34), (92, 104, 62), (74, 110, 142), (96, 116, 124))
_SHIRT: tuple[Colour, ...] = (
    (52, 66, 98),
    (120, 44, 48),
    (60, 92, 74),
    (70, 70, 74),
    (196, 192, 184),
    (112, 88, 128),
)
_WALL: tuple[Colour, ...] = (
    (150, 160, 172),
    (176, 168, 154),
    (118, 132, 130),
    (92, 98, 112),
    (190, 186, 190),
)

HAIR_STYLES = ("short", "long", "fringe", "bald")


@dataclasses.dataclass(frozen=True)
class Glasses:
    """A pair of glasses; lengths in eye units.

    Attributes:
        half_width: of one lens.
        half_height: of one lens.
        squareness: of the outline, 0 for an ellipse, 1 for a rounded rectangle.
        rim: half thickness of the rim.
        y: height of the middle of the lenses below the pupils.
        colour: of the rim.
        glare: strength of the reflection on the lenses, 0 to 1.
    """

    half_width: float
    half_height: float
    squareness: float
    rim: float
    y: float
    colour: Colour
    glare: float


@dataclasses.dataclass(frozen=True)
class Resting:
    """How much of an AU's apex a neutral face shows at rest.

    Attributes:
        au: FACS number.
        shape: share of the apex in the place of brows, lids, lips and skin.
        furrows: share of its folds and bulges.
    """

    au: int
    shape: float
    furrows: float


@dataclasses.dataclass(frozen=True)
class Identity:
    """One subject's neutral face.

    Attributes:
        face_width: half width of the face at the cheeks.
        jaw_power: exponent of the lower outline; larger is squarer.
        chin_y: lowest point of the chin.
        hairline_y: height of the hairline in the middle.
        hair_style: one of `HAIR_STYLES`.
        brow_y: resting height of the brows; also sets how heavy the upper lid looks.
        brow_thickness: half thickness of the brows.
        brow_arch: how far the middle of a brow lies above its ends.
        brow_tilt: how far the outer end lies above the inner one.
        brow_inner_x: inner end of the brows.
        brow_outer_x: outer end of the brows.
        brow_strength: opacity of the brow hair.
        eye_half_width: half length of the opening between the lids.
        eye_upper: height of the upper lid above the pupil.
        eye_lower: depth of the lower lid below the pupil.
        eye_tilt: how far the outer corner lies above the inner one.
        nose_y: height of the wings of the nose.
        nose_width: half distance of the wings.
        nose_height: relief of the nose.
        mouth_y: height of the line between the lips.
        mouth_half_width: half length of that line.
        mouth_curve: how far the corners rest below (positive) the middle.
        lip_upper: thickness of the upper lip.
        lip_lower: thickness of the lower lip.
        furrows: depth of permanent folds, 0 to 1.
        stubble: darkness of the beard shadow, 0 to 1.
        freckles: strength of skin blemishes, 0 to 1.
        skin: albedo of the skin, sRGB grey levels.
        lips: albedo of the lips.
        hair: colour of the hair.
        iris: colour of the iris.
        shirt: colour of the clothes.
        wall: colour of the background.
        left_gain: strength of the viewer's left half of every action, about 1.
        right_gain: strength of the viewer's right half.
        texture_seed: seed of the skin, hair and wall texture.
        beard: opacity of a full or chin beard, 0 to 1.
        beard_width: half width of the beard; a chin beard is narrow.
        moustache: opacity of a moustache, 0 to 1.
        glasses: worn in all videos, or none.
        teeth: colour of the teeth.
        slant: how far the viewer's right half of mouth and brows rests below the left one.
        resting: traces of AUs in the neutral face.
        detail: strength of pores, cast shadows, gloss and uneven colour of the skin, 0 to 1.
        clutter: contrast of what stands behind the head, 0 to 1.
    """

    face_width: float
    jaw_power: float
    chin_y: float
    hairline_y: float
    hair_style: str
    brow_y: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_inner_x: float
    brow_outer_x: float
    brow_strength: float
    eye_half_width: float
    eye_upper: float
    eye_lower: float
    eye_tilt: float
    nose_y: float
    nose_width: float
    nose_height: float
    mouth_y: float
    mouth_half_width: float
    mouth_curve: float
    lip_upper: float
    lip_lower: float
    furrows: float
    stubble: float
    freckles: float
    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    wall: Colour
    left_gain: float
    right_gain: float
    texture_seed: int
    beard: float = 0.0
    beard_width: float = 1.2
    moustache: float = 0.0
    glasses: Glasses | None = None
    teeth: Colour = (226.0, 216.0, 200.0)
    slant: float = 0.0
    resting: tuple[Resting, ...] = ()
    detail: float = 0.0
    clutter: float = 0.0

    def brow_point(self, along: float) -> Point:
        """Middle of the viewer's right brow, from its inner (0) to its outer end (1)."""
        x = self.brow_inner_x + along * (self.brow_outer_x - self.brow_inner_x)
        y = self.brow_y - self.brow_tilt * along - 4.0 * self.brow_arch * along * (1.0 - along)
        return x, y

    @property
    def mouth_corner(self) -> Point:
        """The viewer's right corner of the mouth."""
        return self.mouth_half_width, self.mouth_y + self.mouth_curve

    def mouth_line(self, x: np.ndarray) -> np.ndarray:
        """Height of the line between the closed lips at columns `x`, eye units."""
        t = np.clip(np.abs(x) / self.mouth_half_width, 0.0, 1.2)
        wave = 0.012 * np.cos(2.0 * np.pi * np.minimum(t, 1.0))
        return self.mouth_y + self.mouth_curve * t**2 + wave


def _pick(rng: np.random.Generator, choices: tuple[Colour, ...], jitter: float) -> Colour:
    base = np.asarray(choices[int(rng.integers(len(choices)))], np.float64)
    return _colour(base * rng.uniform(1 - jitter, 1 + jitter) * rng.uniform(0.95, 1.05, 3))


def _colour(values: np.ndarray) -> Colour:
    r, g, b = (float(v) for v in np.clip(values, 0.0, 255.0))
    return r, g, b


def sample_identity(rng: np.random.Generator, *, variation: float = 1.0, asymmetry: float = 0.1) -> Identity:
    """Draws a subject.

    Args:
        rng: source of randomness, used up in a fixed order.
        variation: 1 for the plain spread of geometry, 0 for the average face, above 1 for a wider one.
        asymmetry: spread of the strength of the two halves of the face.
    """

    def between(low: float, high: float) -> float:
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        return float(middle + variation * half * rng.uniform(-1.0, 1.0))

    def share(low: float, high: float) -> float:
        return min(max(between(low, high), 0.0), 1.0)

    tone = rng.uniform(0.0, len(_SKIN) - 1.001)
    lower = int(tone)
    mix = tone - lower
    skin = (1 - mix) * np.asarray(_SKIN[lower]) + mix * np.asarray(_SKIN[lower + 1])
    skin = skin + rng.normal(0.0, 5.0) + rng.normal(0.0, 2.0, 3)
    lips = skin * np.asarray([0.86, 0.62, 0.64]) + rng.uniform(0, 1) * np.asarray([14.0, -10.0, -4.0])
    grey = rng.uniform() < 0.1
    dark_skin = tone > 2.6
    hair_choices = _HAIR[:2] if dark_skin else _HAIR
    hair = _pick(rng, (_GREY_HAIR,) if grey else hair_choices, 0.15)
    style = HAIR_STYLES[int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1]))]
    masculine = style in ("short", "bald")
    nose_y = between(0.60, 0.72)
    return Identity(
        face_width=between(0.97, 1.12),
        jaw_power=between(1.75, 2.3) + (0.15 if masculine else -0.05),
        chin_y=between(1.7, 1.88),
        hairline_y=between(-0.78, -0.62),
        hair_style=style,
        brow_y=between(-0.345, -0.275),
        brow_thickness=between(0.036, 0.058) + (0.006 if masculine else 0.0),
        brow_arch=between(0.01, 0.05),
        brow_tilt=between(-0.02, 0.05),
        brow_inner_x=between(0.17, 0.24),
        brow_outer_x=between(0.80, 0.90),
        brow_strength=between(0.65, 0.95),
        eye_half_width=between(0.205, 0.245),
        eye_upper=between(0.078, 0.102),
        eye_lower=between(0.056, 0.074),
        eye_tilt=between(-0.012, 0.03),
        nose_y=nose_y,
        nose_width=between(0.165, 0.225),
        nose_height=between(0.24, 0.34),
        mouth_y=nose_y + between(0.38, 0.46),
        mouth_half_width=between(0.36, 0.45),
        mouth_curve=between(-0.015, 0.03),
        lip_upper=between(0.05, 0.085),
        lip_lower=between(0.075, 0.115),
        furrows=share(0.0, 0.55),
        stubble=share(0.0, 0.8) if masculine and rng.uniform() < 0.6 else 0.0,
        freckles=share(0.0, 1.0),
        skin=_colour(skin),
        lips=_colour(lips),
        hair=hair,
        iris=_pick(rng, _IRIS[:2] if dark_skin else _IRIS, 0.15),
        shirt=_pick(rng, _SHIRT, 0.2),
        wall=_pick(rng, _WALL, 0.15),
        left_gain=float(1.0 + asymmetry * rng.uniform(-1.0, 1.0)),
        right_gain=float(1.0 + asymmetry * rng.uniform(-1.0, 1.0)),
        texture_seed=int(rng.integers(2**31)),
    )
