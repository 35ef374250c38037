"""What makes a subject's still face ambiguous or hides parts of it: traces of AUs at rest, beards, glasses.

A neutral face may look as if an AU were weakly active: brows that lie low, a furrow that has become
permanent, lips that are always pressed, a slanting mouth. One frame cannot tell such a face from
somebody else's action; only change over time, or knowing the person, can.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.fields import Grid, Plane, gauss, noise, smoothstep
from mdhr_jax.data.synthetic.identity import Colour, Glasses, Identity, Resting

_RIMS: tuple[Colour, ...] = ((26, 24, 26), (60, 38, 28), (110, 108, 112), (40, 50, 84), (140, 112, 70))

RESTING_AUS = (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24)
"""AUs whose traces a resting face can bear; parted lips (25, 26) would be labelled, so they never rest."""


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """How often and how strongly subjects bear such features.

    Attributes:
        resting: standard deviation of the half-normal share of each AU's apex that a neutral face shows.
        resting_limit: largest such share.
        slant: standard deviation of the slant of mouth and brows, eye units.
        glasses: chance of glasses.
        beard: chance that a subject with short hair or none has a beard or a moustache.
        detail: strength of pores, cast shadows, gloss and uneven colour of the skin, 0 to 1.
        clutter: largest contrast of the background, 0 to 1.
    """

    resting: float = 0.0
    resting_limit: float = 0.6
    slant: float = 0.0
    glasses: float = 0.0
    beard: float = 0.0
    detail: float = 0.0
    clutter: float = 0.0


def add_features(face: Identity, config: FeatureConfig, rng: np.random.Generator) -> Identity:
    """Draws the features of a subject whose geometry is known already.

    Every number is drawn whether used or not, so that one feature's strength changes no other.
    """
    shares = np.minimum(
        config.resting * np.abs(rng.standard_normal((len(RESTING_AUS), 2))), config.resting_limit
    )
    resting = tuple(
        Resting(au, float(shape), float(furrows))
        for au, (shape, furrows) in zip(RESTING_AUS, shares, strict=True)
    )
    wears, bearded, style = rng.uniform(size=3)
    size, tall, square, rim, high, glare, dense, wide, clutter, yellow = rng.uniform(size=10).tolist()
    rim_colour = _RIMS[int(rng.integers(len(_RIMS)))]
    slant = float(config.slant * rng.standard_normal())
    stained = (226.0 - 10 * yellow, 216.0 - 18 * yellow, 200.0 - 44 * yellow)
    glasses = Glasses(
        half_width=0.3 + 0.06 * size,
        half_height=0.19 + 0.07 * tall,
        squareness=square,
        rim=0.009 + 0.016 * rim,
        y=0.03 + 0.05 * high,
        colour=rim_colour,
        glare=glare,
    )
    bearded = bearded < config.beard and face.hair_style in ("short", "bald")
    return dataclasses.replace(
        face,
        resting=resting if config.resting else (),
        slant=slant,
        glasses=glasses if wears < config.glasses else None,
        beard=0.7 + 0.28 * dense if bearded and style < 0.75 else 0.0,
        beard_width=1.2 if style < 0.5 else 0.26 + 0.1 * wide,
        moustache=0.7 + 0.25 * dense if bearded and (style < 0.4 or style > 0.6) else 0.0,
        teeth=stained if config.detail else face.teeth,
        detail=config.detail,
        clutter=config.clutter * clutter,
    )


def beard_mask(face: Identity, grid: Grid) -> Plane:
    """Opacity of beard and moustache on the neutral face, without single hairs."""
    mask = np.zeros(grid.shape, np.float32)
    if not (face.beard or face.moustache):
        return mask
    rng = np.random.default_rng(face.texture_seed + 3)
    ragged = 0.03 * noise(grid, rng, (0.05, 0.05)) + 0.02 * noise(grid, rng, (0.014, 0.03))
    across = np.abs(grid.x)
    line = face.mouth_line(grid.x)
    corner = face.mouth_half_width
    lips = (across / (corner + 0.03)) ** 2 + (
        (grid.y - line - 0.1 * face.lip_lower) / (face.lip_lower + 0.03)
    ) ** 2
    clear = smoothstep(0.85, 1.25, lips + ragged)
    if face.beard:
        # From the sideburns down the cheek to the corner of the mouth, then around the lower lip.
        cheek = face.mouth_y + 0.1 - 0.95 * np.maximum(across - 0.42, 0.0) ** 0.8
        cheek = np.where(across < corner + 0.04, line + face.lip_lower * 0.9, cheek)
        zone = smoothstep(-0.05, 0.07, grid.y - cheek + ragged)
        zone = zone * smoothstep(
            0.06, -0.05, across - face.beard_width - 0.25 * np.maximum(grid.y - line, 0) + ragged
        )
        mask = np.maximum(mask, face.beard * zone)
    if face.moustache:
        bottom = line - 0.55 * face.lip_upper + 0.28 * np.maximum(across - 0.6 * corner, 0.0)
        top = face.nose_y + 0.13 + 0.35 * across**1.5
        zone = smoothstep(-0.03, 0.05, grid.y - top + ragged) * smoothstep(0.025, -0.025, grid.y - bottom)
        zone = zone * smoothstep(0.05, -0.06, across - corner - 0.07 + ragged)
        mask = np.maximum(mask, face.moustache * zone)
    return (mask * clear).astype(np.float32)


def paint_beard(image: Float[np.ndarray, "H W 3"], face: Identity, grid: Grid) -> None:
    """Paints beard and moustache on the skin, in place: strands over a darker ground."""
    mask = beard_mask(face, grid)
    if not mask.any():
        return
    rng = np.random.default_rng(face.texture_seed + 4)
    strands = 1.0 + 0.22 * noise(grid, rng, (0.007, 0.03)) + 0.1 * noise(grid, rng, (0.02, 0.02))
    cover = np.clip(mask * (0.9 + 0.16 * noise(grid, rng, (0.009, 0.028))), 0.0, 1.0)[..., None]
    hair = 0.8 * np.asarray(face.hair, np.float32) + 0.06 * np.asarray(face.skin, np.float32)
    image *= 1.0 - cover
    image += cover * hair * np.clip(strands, 0.4, 1.7)[..., None]


def slant_shift(face: Identity, grid: Grid) -> Float[np.ndarray, "2 H W"]:
    """How far the slant of mouth and brows moves the skin, eye units."""
    field = np.zeros((2, *grid.shape), np.float32)
    tilt = np.clip(grid.x / 0.4, -1.0, 1.0)
    field[1] = (
        face.slant
        * tilt
        * (
            gauss(grid, (0.0, face.mouth_y), (0.5, 0.22))
            + 0.7 * gauss(grid, (0.0, face.brow_y - 0.05), (0.7, 0.13))
        )
    )
    return field


def draw_glasses(
    picture: Float[np.ndarray, "h w 3"],
    x: Float[np.ndarray, "h w"],
    y: Float[np.ndarray, "h w"],
    glasses: Glasses,
    face_width: float,
    brightness: float,
    pixel: float,
) -> None:
    """Draws glasses over the eyes, in place.

    Args:
        picture: grey levels.
        x: columns relative to the middle of the glasses, eye units.
        y: rows relative to the pupils.
        glasses: which.
        face_width: half width of the face, where the arms end.
        brightness: of the light.
        pixel: size of a pixel in eye units.
    """
    across = np.abs(x)
    dx = np.abs(across - np.float32(0.5)) * np.float32(1.0 / glasses.half_width)
    dy = np.abs(y - np.float32(glasses.y)) * np.float32(1.0 / glasses.half_height)
    # Between an ellipse and a rounded rectangle, with square roots alone: powers take ten times as long.
    dx, dy = dx * dx, dy * dy
    ellipse, box = np.sqrt(dx + dy), np.sqrt(np.sqrt(dx * dx + dy * dy))
    radius = ellipse + np.float32(glasses.squareness) * (box - ellipse)
    distance = (radius - 1.0) * np.float32(min(glasses.half_width, glasses.half_height))

    def line(away: np.ndarray, half: float) -> np.ndarray:
        return np.clip((np.float32(half) - np.abs(away)) / np.float32(pixel) + np.float32(0.5), 0.0, 1.0)

    rim = line(distance, glasses.rim)
    top = np.float32(glasses.y - 0.45 * glasses.half_height)
    bridge = line(y - top + np.float32(0.04) - 0.8 * x * x, glasses.rim * 1.1) * (
        across < 0.5 - 0.97 * glasses.half_width
    )
    arm = (
        line(y - top, glasses.rim * 1.2) * (across > 0.5 + 0.97 * glasses.half_width) * (across < face_width)
    )
    lens = np.clip(-distance / np.float32(pixel), 0.0, 1.0)
    shadow = np.clip(1.0 - np.abs(distance - np.float32(0.03)) / np.float32(0.05), 0.0, 1.0) * (y > glasses.y)
    streak = np.exp(-(((x - 0.9 * y - 0.5 * np.sign(x) + 0.12) / np.float32(0.06)) ** 2))
    glare = lens * (np.float32(0.03) + np.float32(0.16 * glasses.glare) * streak)
    solid = np.maximum(rim, np.maximum(bridge, arm))[..., None]
    picture *= (1.0 - 0.14 * shadow)[..., None]
    picture += glare[..., None] * (np.float32(235.0 * brightness) - picture)
    colour = np.asarray(glasses.colour, np.float32) * np.float32(brightness)
    picture += solid * (colour - picture)
