"""Eyes behind their lids, and the inside of the mouth: what shows where the skin parts.

Both are drawn frame by frame into small boxes of the finished picture, because lids and lips uncover
them instead of moving them. Lengths are eye units, relative to the head.
"""

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.identity import Identity

IRIS_RADIUS = 0.092
Patch = Float[np.ndarray, "h w"]
Picture = Float[np.ndarray, "h w 3"]


def lid_heights(face: Identity, upper_lid: float, lower_lid: float, blink: float) -> tuple[float, float]:
    """Heights of the middle of the upper and the lower lid relative to the pupil, eye units.

    Args:
        upper_lid: closure of the upper lid as a share of the opening; negative opens it wider.
        lower_lid: rise of the lower lid as a share of its own height.
        blink: closure by a blink, 0 to 1.
    """
    lower = face.eye_lower * (1.0 - min(lower_lid, 0.95)) + 0.2 * face.eye_lower * blink
    opening = face.eye_upper + 0.75 * face.eye_lower
    upper = -face.eye_upper + opening * min(upper_lid, 0.85)
    upper += (lower - upper) * blink
    return min(upper, lower), lower


def _ramp(value: Patch, pixel: float) -> Patch:
    return np.clip(value * np.float32(1.0 / pixel) + np.float32(0.5), 0.0, 1.0)


def draw_eye(
    picture: Picture,
    x: Patch,
    y: Patch,
    face: Identity,
    side: float,
    lids: tuple[float, float],
    gaze: tuple[float, float],
    brightness: float,
    pixel: float,
) -> None:
    """Draws one eye over the skin of a box, in place.

    Args:
        picture: grey levels.
        x: columns relative to the pupil of the resting eye, eye units.
        y: rows relative to it.
        side: +1 for the viewer's right eye, -1 for the left.
        lids: see `lid_heights`.
        gaze: displacement of the iris, radii of the iris.
        brightness: light on the eye relative to full light.
        pixel: size of a pixel in eye units.
    """
    t = np.clip(side * x / np.float32(face.eye_half_width), -1.25, 1.25)
    rise = np.float32(-face.eye_tilt) * t
    # Lids meet at the corners; the inner part of the upper lid is fuller than the outer one.
    corner_depth = np.float32(0.2 * (lids[0] + lids[1]))
    skewed = np.abs(t + 0.12 * (1.0 - t * t))
    upper = (
        rise + corner_depth + (np.float32(lids[0]) - corner_depth) * (1.0 - np.minimum(skewed, 1.0) ** 2.2)
    )
    lower = (
        rise + corner_depth + (np.float32(lids[1]) - corner_depth) * (1.0 - np.minimum(np.abs(t), 1.0) ** 2.0)
    )
    within = _ramp((1.0 - np.abs(t)) * np.float32(face.eye_half_width), pixel)
    opening = _ramp(y - upper, pixel) * _ramp(lower - y, pixel) * within
    opening = opening * np.float32(min(1.0, (lids[1] - lids[0]) / (0.7 * pixel)))
    dx = x - np.float32(gaze[0] * IRIS_RADIUS)
    dy = y - np.float32(gaze[1] * IRIS_RADIUS)
    radius = np.sqrt(dx * dx + dy * dy) * np.float32(1.0 / IRIS_RADIUS)
    ball = np.float32(1.0) - 0.16 * t * t - 0.3 * np.exp(-np.maximum(y - upper, 0.0) / np.float32(0.028))
    ball = ball * np.float32(brightness)
    iris = np.clip((1.0 - radius) / np.float32(pixel / IRIS_RADIUS) + 0.5, 0.0, 1.0)
    pupil = np.clip((0.42 - radius) / np.float32(pixel / IRIS_RADIUS) + 0.5, 0.0, 1.0)
    limbus = 1.0 - 0.5 * np.clip((radius - 0.72) / 0.28, 0.0, 1.0)
    glint = np.exp(-((dx - 0.03) ** 2 + (dy + 0.035) ** 2) / np.float32(2 * 0.014**2))
    for channel, (white, colour) in enumerate(zip((236.0, 228.0, 222.0), face.iris, strict=True)):
        eye = np.float32(white) * (1.0 - iris) + np.float32(1.1 * colour) * limbus * iris
        eye = eye * (1.0 - 0.88 * pupil) * ball + 190.0 * glint * np.float32(brightness)
        picture[..., channel] += opening * (np.minimum(eye, 255.0) - picture[..., channel])
    lash = np.exp(-0.5 * ((y - upper + 0.006) / np.float32(max(0.014, 0.55 * pixel))) ** 2)
    rim = np.exp(-0.5 * ((y - lower - 0.004) / np.float32(max(0.009, 0.5 * pixel))) ** 2)
    picture *= (1.0 - (0.72 * lash + 0.3 * rim) * _ramp(1.04 - np.abs(t), 0.12))[..., None]


def draw_mouth(
    picture: Picture,
    x: Patch,
    y: Patch,
    upper: Patch,
    lower: Patch,
    face: Identity,
    brightness: float,
    pixel: float,
) -> None:
    """Draws teeth, tongue and the dark of the mouth between the lips, in place.

    Args:
        picture: grey levels.
        x: columns, eye units.
        y: rows, eye units.
        upper: height of the lower edge of the upper lip at each pixel.
        lower: height of the upper edge of the lower lip.
    """
    gap = lower - upper
    shown = _ramp(y - upper, pixel) * _ramp(lower - y, pixel) * np.clip(gap / np.float32(pixel), 0.0, 1.0)
    across = x / np.float32(face.mouth_half_width)
    # Upper teeth hang from the skull, so they do not follow the lips.
    edge = np.float32(face.mouth_y + 0.035) - 0.02 * across * across
    teeth = _ramp(edge - y, 1.5 * pixel) * np.clip(1.15 - 1.4 * np.abs(across), 0.0, 1.0)
    gaps = 1.0 - 0.12 * np.cos(np.float32(2 * np.pi / 0.075) * x) ** 8
    shade = np.clip(0.62 + 0.4 * (y - upper) / np.float32(0.05), 0.5, 1.0) * gaps
    tongue = np.clip((y - lower + 0.09) / np.float32(0.09), 0.0, 1.0) * np.clip(
        1.0 - 1.6 * np.abs(across), 0.0, 1.0
    )
    tongue = tongue * np.clip((gap - 0.12) / np.float32(0.12), 0.0, 1.0)
    red_tone = (158.0, 84.0, 84.0)
    if face.detail:
        # A wide mouth shows the tongue as a mound in the shade, and the lower teeth before it.
        red_tone = (138.0, 66.0, 68.0)
        wide = np.clip((gap - 0.12) / np.float32(0.12), 0.0, 1.0)
        mound = 1.0 - (across / 0.72) ** 2 - ((lower - 0.03 - y) / np.maximum(0.42 * gap, 0.02)) ** 2
        tongue = np.sqrt(np.clip(mound, 0.0, 1.0)) * wide
        row = _ramp(y - lower + np.float32(0.045), 1.5 * pixel) * np.clip(
            1.3 - 2.0 * np.abs(across), 0.0, 1.0
        )
        teeth = np.maximum(teeth, 0.75 * row * wide)
    for channel, (dark, red, ivory) in enumerate(zip((58.0, 24.0, 24.0), red_tone, face.teeth, strict=True)):
        inside = np.float32(dark) + np.float32(red - dark) * 0.8 * tongue
        inside = inside + teeth * (np.float32(ivory) * shade - inside)
        inside = inside * np.float32(brightness)
        picture[..., channel] += shown * (inside - picture[..., channel])
