"""Action units of one face as fields: how far the skin slides and how its relief changes."""

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic.apexes import ACTIONS, Action
from mdhr_jax.data.synthetic.fields import Grid, Plane, gauss, noise, stroke, zeros
from mdhr_jax.data.synthetic.identity import Identity


def action(au: int, face: Identity) -> Action:
    """The apex of one AU on one face.

    Raises:
        ValueError: the generator cannot draw that AU.
    """
    if au not in ACTIONS:
        known = ", ".join(f"AU{number}" for number in ACTIONS)
        raise ValueError(f"the synthetic face has no AU{au}; it can draw {known}")
    return ACTIONS[au][1](face)


def title(au: int) -> str:
    """Printed name, such as ``AU1 inner brow raiser``."""
    return f"AU{au} {ACTIONS[au][0]}"


def displacement(
    apex: Action, grid: Grid, gains: tuple[float, float] = (1.0, 1.0)
) -> Float[np.ndarray, "2 H W"]:
    """How far the skin that ends up at each position has come, in x and y, eye units.

    The window of a move is centred where its skin ends up, so that the field can be used as an inverse warp.

    Args:
        gains: strength on the viewer's left and right half.
    """
    field = np.zeros((2, *grid.shape), np.float32)
    for move in apex.moves:
        for sign in (1.0, -1.0) if move.centre[0] else (0.0,):
            gain = 0.5 * sum(gains) if sign == 0.0 else gains[int(sign > 0)]
            shift = (gain * (sign or 1.0) * move.shift[0], gain * move.shift[1])
            centre = ((sign or 1.0) * move.centre[0] + shift[0], move.centre[1] + shift[1])
            window = gauss(grid, centre, move.spread)
            field[0] += np.float32(shift[0]) * window
            field[1] += np.float32(shift[1]) * window
    return field


def relief_change(apex: Action, face: Identity, grid: Grid, gains: tuple[float, float] = (1.0, 1.0)) -> Plane:
    """Change of the relief in the coordinates of the neutral face, eye units."""
    change = zeros(grid)
    depth = 0.8 + 0.4 * face.furrows
    for fold in apex.folds:
        for sign in (1.0,) if fold.single else (1.0, -1.0):
            gain = 0.5 * sum(gains) if fold.single else gains[int(sign > 0)]
            points = tuple((sign * x, y) for x, y in fold.points)
            change -= np.float32(gain * depth * fold.depth) * stroke(grid, points, fold.width)
    for bulge in apex.bulges:
        for sign in (1.0, -1.0) if bulge.centre[0] else (0.0,):
            gain = 0.5 * sum(gains) if sign == 0.0 else gains[int(sign > 0)]
            centre = ((sign or 1.0) * bulge.centre[0], bulge.centre[1])
            change += np.float32(gain * bulge.height) * gauss(grid, centre, bulge.spread)
    if apex.dimples:
        rng = np.random.default_rng(face.texture_seed + 17)
        pits = noise(grid, rng, (0.022, 0.022))
        zone = gauss(grid, (0.0, face.chin_y - 0.3), (0.17, 0.11))
        change += np.float32(apex.dimples) * pits * zone
    return change
