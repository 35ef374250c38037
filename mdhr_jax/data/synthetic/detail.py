"""What makes a portrait less like a drawing: gloss, cast shadows, uneven skin, fine hair, a room."""

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.fields import Grid, Plane, gauss, noise, smoothstep
from mdhr_jax.data.synthetic.identity import Identity

Picture = Float[np.ndarray, "H W 3"]


def detailed_skin(
    lit: Picture, face: Identity, relief: Plane, radius: Plane, grid: Grid, light: tuple[float, float]
) -> Picture:
    """Lit skin with gloss, shadows and uneven colour.

    Args:
        lit: skin under the lamp, grey levels.
        face: who; `face.detail` says how much.
        relief: of the neutral face, eye units.
        radius: distance from the middle of the face, 1 on its outline.
        grid: where the samples lie.
        light: direction of the lamp as tangents, see `portrait.Lamp`.
    """
    rng = np.random.default_rng(face.texture_seed + 5)
    strength = np.float32(face.detail)
    pores = 0.022 * noise(grid, rng, (0.006, 0.006)) + 0.014 * noise(grid, rng, (0.013, 0.013))
    patches = 0.018 * noise(grid, rng, (0.16, 0.16))
    # Blood shows where skin is thin, so patches differ in colour more than in brightness.
    tint = np.stack([0.4 * patches, -1.0 * patches, -0.9 * patches], -1)
    out = lit * (1.0 + strength * (pores[..., None] + tint))
    under_nose = gauss(grid, (-0.3 * light[0], face.nose_y + 0.12), (0.15, 0.05))
    beside_nose = gauss(grid, (-0.18 * np.sign(light[0]), 0.32), (0.07, 0.2)) * min(1.0, 2.0 * abs(light[0]))
    under_lip = gauss(grid, (0.0, face.mouth_y + face.lip_lower + 0.06), (0.22, 0.035))
    limb = smoothstep(0.72, 1.04, radius)
    shadow = 0.16 * under_nose + 0.1 * beside_nose + 0.08 * under_lip + 0.26 * limb
    # Shadows on skin are warm: light scatters red furthest.
    warm = np.asarray([0.85, 1.0, 1.08], np.float32)
    out = out * (1.0 - strength * shadow[..., None] * warm)
    return out + (strength * _gloss(relief, grid.step, light) * (1.0 + 4.0 * pores))[..., None]


def _gloss(relief: Plane, step: float, light: tuple[float, float]) -> Plane:
    """Reflection of the lamp on oily skin (Blinn), grey levels."""
    dy, dx = np.gradient(relief, np.float32(step))
    towards = np.asarray([light[0], light[1], 1.0])
    towards = towards / np.linalg.norm(towards) + np.asarray([0.0, 0.0, 1.0])
    half = (towards / np.linalg.norm(towards)).astype(np.float32)
    facing = (half[2] - dx * half[0] - dy * half[1]) / np.sqrt(1.0 + dx**2 + dy**2)
    return 20.0 * np.maximum(facing, 0.0) ** 14 + 16.0 * np.maximum(facing, 0.0) ** 60


def detailed_strands(face: Identity, grid: Grid) -> Plane:
    """Brightness of scalp hair: locks, and single hairs finer than a pixel."""
    rng = np.random.default_rng(face.texture_seed + 6)
    locks = 0.1 * noise(grid, rng, (0.05, 0.5)) + 0.1 * noise(grid, rng, (0.018, 0.35))
    hairs = 0.12 * noise(grid, rng, (0.005, 0.12))
    # Hair is darker towards its roots and the sides of the head.
    return 1.0 + locks + hairs - 0.12 * np.minimum(np.abs(grid.x) / 1.1, 1.0) ** 2


def clutter(face: Identity, grid: Grid) -> Plane:
    """Relative brightness of what stands out of focus behind the head: doors, shelves, frames."""
    rng = np.random.default_rng(face.texture_seed + 7)
    out = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.uniform(-1.7, 1.7), rng.uniform(-1.2, 2.2)
        half_x, half_y = rng.uniform(0.08, 0.6), rng.uniform(0.15, 1.2)
        soft = float(rng.uniform(0.02, 0.08))
        across = smoothstep(soft, -soft, np.abs(grid.x - np.float32(x)) - np.float32(half_x))
        down = smoothstep(soft, -soft, np.abs(grid.y - np.float32(y)) - np.float32(half_y))
        out += np.float32(rng.uniform(-0.4, 0.4)) * across * down
    return np.float32(face.clutter) * out
