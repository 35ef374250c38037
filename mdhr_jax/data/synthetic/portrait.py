"""The neutral face as a picture: relief, lighting and paint of one identity.

The face is a relief `z(x, y)` in eye units lit by one lamp; paint (albedo) lies on it. Actions of muscles
change the relief, so the same lighting turns them into furrows and bulges (`relight`).
Eyes are not painted here: they lie behind the lids and are drawn frame by frame (`eyes`).
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from mdhr_jax.data.synthetic import detail, features
from mdhr_jax.data.synthetic.fields import (
    Grid,
    Plane,
    bezier,
    gauss,
    noise,
    smoothstep,
    stroke,
    zeros,
)
from mdhr_jax.data.synthetic.identity import Colour, Identity


@dataclasses.dataclass(frozen=True)
class Lamp:
    """Light of one video.

    Attributes:
        direction_x: where the light comes from, positive from the viewer's right.
        direction_y: positive from below, so usually negative.
        ambient: share of light that comes from everywhere, 0 to 1.
        warmth: relative gain of red against blue, about 0.
    """

    direction_x: float = 0.25
    direction_y: float = -0.45
    ambient: float = 0.5
    warmth: float = 0.0


def both(draw, *args) -> Plane:
    """Sum of what `draw(side, ...)` gives for the viewer's right (+1) and left (-1) side."""
    return draw(1.0, *args) + draw(-1.0, *args)


def face_radius(face: Identity, grid: Grid) -> Plane:
    """Distance from the middle of the face relative to its outline: below 1 inside, 1 on the outline."""
    middle = 0.12
    upper = ((np.abs(grid.x) / face.face_width) ** 2.3 + (np.abs(grid.y - middle) / 1.5) ** 2.3) ** (1 / 2.3)
    p = face.jaw_power
    low = np.maximum(grid.y - middle, 0.0) / (face.chin_y - middle)
    lower = ((np.abs(grid.x) / face.face_width) ** p + low**p) ** (1 / p)
    return np.where(grid.y < middle, upper, lower).astype(np.float32)


def relief(face: Identity, grid: Grid) -> Plane:
    """Height of the neutral face towards the viewer, eye units."""
    radius = np.minimum(face_radius(face, grid), 1.05)
    z = 0.75 * np.sqrt(np.maximum(1.0 - 0.82 * radius**2, 0.02))
    nose, depth = face.nose_y, face.nose_height
    along = smoothstep(-0.15, nose - 0.05, grid.y) * smoothstep(nose + 0.1, nose - 0.06, grid.y)
    width = 0.085 + 0.05 * smoothstep(0.1, nose, grid.y)
    z += depth * (0.35 + 0.5 * smoothstep(0.0, nose, grid.y)) * along * np.exp(-0.5 * (grid.x / width) ** 2)
    z += 0.32 * depth * gauss(grid, (0.0, nose - 0.03), (0.085, 0.075))
    lip, mouth = face.lip_upper, face.mouth_y

    def side(sign: float) -> Plane:
        part = 0.3 * depth * gauss(grid, (sign * (face.nose_width - 0.045), nose + 0.0), (0.05, 0.06))
        part += -0.13 * gauss(grid, (sign * 0.40, -0.05), (0.2, 0.11))
        part += 0.055 * gauss(grid, (sign * 0.5, 0.0), (0.17, 0.085))
        part += 0.045 * gauss(grid, (sign * 0.45, face.brow_y + 0.03), (0.28, 0.07))
        part += 0.07 * gauss(grid, (sign * 0.66, 0.45), (0.24, 0.2))
        fold = bezier(
            (sign * (face.nose_width + 0.02), nose - 0.02),
            (sign * (face.nose_width + 0.17), nose + 0.08),
            (sign * (face.mouth_half_width + 0.07), mouth - 0.02),
        )
        part -= (0.01 + 0.03 * face.furrows) * stroke(grid, fold, 0.035)
        bag = bezier((sign * 0.3, 0.14), (sign * 0.45, 0.21), (sign * 0.66, 0.13))
        return part - (0.004 + 0.012 * face.furrows) * stroke(grid, bag, 0.022)

    z += both(side)
    z += 0.07 * gauss(grid, (0.0, mouth), (0.34, 0.24))
    window = np.sqrt(np.maximum(1.0 - (grid.x / (face.mouth_half_width * 1.03)) ** 2, 0.0))
    line = face.mouth_line(grid.x)
    z += 0.035 * window * np.exp(-0.5 * ((grid.y - line + 0.55 * lip) / (0.5 * lip)) ** 2)
    z += (
        0.05 * window * np.exp(-0.5 * ((grid.y - line - 0.5 * face.lip_lower) / (0.42 * face.lip_lower)) ** 2)
    )
    z -= 0.022 * window * np.exp(-0.5 * ((grid.y - line) / 0.014) ** 2)
    z -= 0.015 * gauss(grid, (0.0, 0.5 * (nose + mouth - lip) + 0.04), (0.035, 0.07))
    z -= 0.045 * gauss(grid, (0.0, mouth + face.lip_lower + 0.09), (0.24, 0.05))
    z += 0.06 * gauss(grid, (0.0, face.chin_y - 0.22), (0.2, 0.13))
    for y in (-0.42, -0.52):
        curve = bezier((-0.5, y + 0.02), (0.0, y - 0.03), (0.5, y + 0.02))
        z -= 0.004 * face.furrows * stroke(grid, curve, 0.014)
    return z.astype(np.float32)


def relight(z: Plane, step: float, lamp: Lamp) -> Plane:
    """Brightness of a relief, about 1 where it faces the viewer.

    Lambert's law plus a term that darkens furrows, which see less of the sky.

    Args:
        z: height, eye units.
        step: distance of neighbouring samples, eye units.
    """
    dy, dx = np.gradient(z, np.float32(step))
    light = np.asarray([lamp.direction_x, lamp.direction_y, 1.0])
    light = light / np.linalg.norm(light)
    facing = (light[2] - dx * light[0] - dy * light[1]) / np.sqrt(1.0 + dx**2 + dy**2)
    lit = lamp.ambient + (1.0 - lamp.ambient) * np.maximum(facing, 0.0) / light[2]
    blurred = ndimage.gaussian_filter(z, 0.035 / step, mode="nearest", truncate=3.0)
    cavity = np.clip(1.0 + 7.0 * (z - blurred), 0.55, 1.25)
    rim = 0.75 + 0.25 / np.sqrt(1.0 + 0.35 * (dx**2 + dy**2))
    return (lit * cavity * rim).astype(np.float32)


def _paint(
    image: Float[np.ndarray, "H W 3"],
    colour: Colour | Float[np.ndarray, "3"] | Float[np.ndarray, "H W 3"],
    mask: Plane,
) -> None:
    mask = mask[..., None]
    image *= 1.0 - mask
    image += mask * np.asarray(colour, np.float32)


def skin(face: Identity, grid: Grid) -> Float[np.ndarray, "H W 3"]:
    """Albedo of skin, brows, lips and nostrils, sRGB grey levels; eyes are left closed and bare."""
    rng = np.random.default_rng(face.texture_seed)
    base = np.asarray(face.skin, np.float32)
    image = np.broadcast_to(base, (*grid.shape, 3)).copy()
    blotches = 0.02 * noise(grid, rng, (0.12, 0.12)) + 0.016 * noise(grid, rng, (0.02, 0.02))
    blotches += 0.012 * noise(grid, rng, (0.008, 0.008))
    image *= (1.0 + blotches)[..., None]
    flush = both(lambda s: gauss(grid, (s * 0.62, 0.5), (0.22, 0.18)))
    flush += 0.8 * gauss(grid, (0.0, face.nose_y - 0.02), (0.13, 0.12))
    _paint(image, base * np.asarray([1.0, 0.8, 0.78], np.float32), np.minimum(0.35 * flush, 1.0))
    sockets = both(lambda s: gauss(grid, (s * 0.47, 0.02), (0.25, 0.14)))
    _paint(image, base * np.asarray([0.74, 0.66, 0.68], np.float32), np.minimum(0.4 * sockets, 1.0))
    for _ in range(int(14 * face.freckles)):
        centre = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.4, 1.5)))
        spot = gauss(grid, centre, (0.012, 0.012))
        _paint(image, base * np.asarray([0.62, 0.5, 0.44], np.float32), 0.5 * spot)
    _paint_beard(image, face, grid, rng)
    _paint_lips(image, face, grid)
    nostrils = both(
        lambda s: gauss(grid, (s * (face.nose_width - 0.09), face.nose_y + 0.055), (0.032, 0.017), s * -0.25)
    )
    _paint(image, base * 0.28, np.minimum(0.9 * nostrils, 1.0))
    wings = both(lambda s: stroke(grid, _wing(face, s), 0.014))
    _paint(image, base * np.asarray([0.55, 0.45, 0.42], np.float32), 0.55 * wings)

    def crease(sign: float) -> Plane:
        top = -face.eye_upper - 0.035
        points = bezier((sign * 0.27, top + 0.05), (sign * 0.46, top - 0.055), (sign * 0.75, top + 0.045))
        return stroke(grid, points, 0.012)

    _paint(image, base * np.asarray([0.5, 0.42, 0.4], np.float32), np.minimum(0.6 * both(crease), 1.0))
    _paint_brows(image, face, grid, rng)
    features.paint_beard(image, face, grid)
    return image


def _wing(face: Identity, sign: float):
    x, y = face.nose_width, face.nose_y
    return bezier((sign * (x - 0.03), y - 0.09), (sign * (x + 0.04), y), (sign * (x - 0.05), y + 0.06))


def _paint_beard(image: np.ndarray, face: Identity, grid: Grid, rng: np.random.Generator) -> None:
    grain = np.clip(0.75 + 0.25 * noise(grid, rng, (0.006, 0.009)), 0.0, 1.0)
    line = face.mouth_y - 0.27 - 0.6 * np.maximum(np.abs(grid.x) - 0.35, 0.0)
    zone = smoothstep(0.0, 0.14, grid.y - line) * smoothstep(
        0.0, 0.1, np.abs(grid.x) + grid.y - face.nose_y - 0.12
    )
    _paint(image, face.hair, np.clip(0.42 * face.stubble * zone * grain, 0.0, 1.0))


def _paint_lips(image: np.ndarray, face: Identity, grid: Grid) -> None:
    line = face.mouth_line(grid.x)
    t = np.clip(np.abs(grid.x) / face.mouth_half_width, 0.0, 1.0)
    bow = (
        1.0
        - 0.22 * np.exp(-0.5 * (grid.x / 0.045) ** 2)
        + 0.1 * np.exp(-0.5 * ((np.abs(grid.x) - 0.1) / 0.05) ** 2)
    )
    top = line - face.lip_upper * bow * (1.0 - t**1.6)
    bottom = line + face.lip_lower * (1.0 - t**2.2) ** 0.9
    edge = 0.8 * grid.step
    mask = smoothstep(-edge, edge, grid.y - top) * smoothstep(edge, -edge, grid.y - bottom)
    mask = mask * (t < 1.0)
    upper = np.asarray(face.lips, np.float32) * 0.9
    _paint(image, upper, 0.9 * mask * smoothstep(0.01, -0.01, grid.y - line))
    _paint(image, face.lips, 0.9 * mask * smoothstep(-0.01, 0.01, grid.y - line))
    gloss = np.exp(-0.5 * ((grid.y - line - 0.45 * face.lip_lower) / (0.16 * face.lip_lower)) ** 2)
    image += (22.0 * mask * gloss * np.exp(-0.5 * (grid.x / 0.16) ** 2))[..., None]
    seam = np.exp(-0.5 * ((grid.y - line) / 0.0125) ** 2) * smoothstep(
        1.06, 0.9, np.abs(grid.x) / face.mouth_half_width
    )
    _paint(image, np.asarray(face.lips, np.float32) * 0.3, np.minimum(0.85 * seam, 1.0))
    corner = both(lambda s: gauss(grid, (s * face.mouth_corner[0], face.mouth_corner[1]), (0.03, 0.022)))
    _paint(image, np.asarray(face.skin, np.float32) * 0.45, np.minimum(0.5 * corner, 1.0))


def _paint_brows(image: np.ndarray, face: Identity, grid: Grid, rng: np.random.Generator) -> None:
    hairs = np.clip(0.95 + 0.2 * noise(grid, rng, (0.014, 0.007)), 0.0, 1.2)
    colour = 0.55 * np.asarray(face.hair, np.float32) + 0.12 * np.asarray(face.skin, np.float32)
    along = np.clip((np.abs(grid.x) - face.brow_inner_x) / (face.brow_outer_x - face.brow_inner_x), 0.0, 1.0)
    middle = face.brow_point(0.0)[1] - face.brow_tilt * along - 4.0 * face.brow_arch * along * (1.0 - along)
    half = face.brow_thickness * (1.0 - 0.55 * along**1.5)
    ends = smoothstep(-0.03, 0.035, np.abs(grid.x) - face.brow_inner_x) * smoothstep(
        0.03, -0.05, np.abs(grid.x) - face.brow_outer_x
    )
    mask = ends * smoothstep(1.3, 0.5, np.abs(grid.y - middle) / half)
    _paint(image, colour, np.clip(face.brow_strength * mask * hairs, 0.0, 1.0))


def portrait(face: Identity, lamp: Lamp, grid: Grid) -> Float[np.ndarray, "H W 4"]:
    """The lit neutral head with bare closed eyes, on a transparent background.

    Returns:
        float32; red, green, blue in sRGB grey levels multiplied by the opacity, and the opacity.
    """
    rng = np.random.default_rng(face.texture_seed + 1)
    edge = 1.2 * grid.step
    radius = face_radius(face, grid)
    inside = smoothstep(edge, -edge, radius - 1.0)
    image = np.zeros((*grid.shape, 3), np.float32)
    alpha = zeros(grid)

    def layer(colour, mask: Plane) -> None:
        nonlocal alpha
        _paint(image, colour, mask)
        alpha = mask + alpha * (1.0 - mask)

    strands = 1.0 + 0.2 * noise(grid, rng, (0.014, 0.3)) + 0.06 * noise(grid, rng, (0.006, 0.05))
    if face.detail:
        strands = detail.detailed_strands(face, grid)
    hair = np.asarray(face.hair, np.float32) * np.clip(strands, 0.4, 1.8)[..., None]
    outer = face.face_width + (0.06 if face.hair_style in ("short", "bald") else 0.2)
    skull = smoothstep(edge, -edge, ((grid.x / outer) ** 2 + ((grid.y + 0.1) / 1.6) ** 2) - 1.0)
    if face.hair_style == "long":
        wave = 0.05 * np.sin(3.0 * grid.y + face.texture_seed % 7)
        fall = smoothstep(edge, -edge, np.abs(grid.x + wave) - outer - 0.05 * grid.y)
        layer(0.7 * hair, fall * smoothstep(-0.15, 0.0, grid.y))
    tone = np.asarray(face.skin, np.float32)
    neck_width = 0.62 * face.face_width
    neck = smoothstep(edge, -edge, np.abs(grid.x) - neck_width - 0.05 * (grid.y - 1.2) ** 2) * (grid.y > 0.8)
    round_neck = 0.62 * np.sqrt(np.maximum(1.0 - 0.75 * (grid.x / neck_width) ** 2, 0.1))
    layer(tone * (round_neck * np.ones(grid.shape, np.float32))[..., None], neck)
    collar = 1.98 + 0.1 * np.cos(2.2 * grid.x)
    layer(
        np.asarray(face.shirt, np.float32), smoothstep(-edge, edge, grid.y - collar + 0.25 * np.abs(grid.x))
    )
    if face.hair_style in ("short", "bald"):
        ears = both(lambda s: gauss(grid, (s * (face.face_width + 0.02), 0.22), (0.09, 0.2)))
        layer(tone * 0.72, smoothstep(0.45, 0.62, ears))
        inner = both(lambda s: gauss(grid, (s * (face.face_width + 0.04), 0.2), (0.03, 0.09)))
        _paint(image, tone * 0.5, 0.6 * inner)

    z = relief(face, grid)
    shaded = skin(face, grid) * relight(z, grid.step, lamp)[..., None]
    if face.detail:
        shaded = detail.detailed_skin(shaded, face, z, radius, grid, (lamp.direction_x, lamp.direction_y))
    layer(shaded, inside)
    if face.hair_style != "bald":
        temple = 0.0 if face.hair_style == "short" else 0.3
        ragged = 0.014 * noise(grid, rng, (0.045, 0.3)) + 0.008 * noise(grid, rng, (0.012, 0.2))
        line = face.hairline_y + ragged + (0.5 + temple) * np.maximum(np.abs(grid.x) - 0.55, 0.0) ** 1.6
        line = line + (1.6 - temple) * np.maximum(np.abs(grid.x) - 0.85, 0.0)
        if face.hair_style == "fringe":
            line = line + 0.16 * smoothstep(0.7, 0.1, np.abs(grid.x + 0.25))
        cap = skull * smoothstep(0.035, -0.035, grid.y - line)
        shadow = skull * smoothstep(0.16, -0.02, grid.y - line)
        image *= (1.0 - 0.22 * shadow)[..., None]
        shine = 0.9 + 0.25 * gauss(grid, (0.3 * np.sign(lamp.direction_x), -0.75), (0.5, 0.2))
        layer(hair * shine[..., None], cap)
    gain = np.asarray([1.0 + lamp.warmth, 1.0, 1.0 - lamp.warmth], np.float32)
    image *= gain * alpha[..., None]
    return np.concatenate([np.clip(image, 0.0, 255.0), alpha[..., None]], axis=-1).astype(np.float32)


def backdrop(face: Identity, grid: Grid) -> Float[np.ndarray, "H W 3"]:
    """The wall behind the head, float32 sRGB grey levels."""
    rng = np.random.default_rng(face.texture_seed + 2)
    base = np.asarray(face.wall, np.float32)
    shade = 1.0 + 0.07 * noise(grid, rng, (0.5, 0.5)) - 0.12 * np.abs(grid.x + 0.2) / 1.5
    if face.clutter:
        shade = shade + detail.clutter(face, grid)
    return np.clip(base * shade[..., None], 0.0, 255.0).astype(np.float32)
