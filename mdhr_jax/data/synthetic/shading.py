"""How much brighter or darker the skin becomes where an action bends it, or where the light turns.

Each change is computed once a subject and video and kept within the box where it matters.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mdhr_jax.data.synthetic import actions, features, portrait
from mdhr_jax.data.synthetic.apexes import Action
from mdhr_jax.data.synthetic.fields import Grid, Plane
from mdhr_jax.data.synthetic.identity import Identity
from mdhr_jax.data.synthetic.interactions import Unit

_FLOOR = 0.004  # shading below this share is left out of an AU's box
_BEARD_HIDES = 0.6  # share of the shading of a fold that a thick beard hides


@dataclasses.dataclass(frozen=True)
class Shade:
    """Change of brightness (share) that an AU at apex makes within a box of the portrait."""

    box: tuple[slice, slice]
    gain: Plane


class Shader:
    """Brightness changes of one face under one light.

    Args:
        face: who.
        lamp: the light of the video.
        canvas: where the portrait is painted.
        gains: strength of actions on the viewer's left and right half.
    """

    _TURN = 0.25

    def __init__(self, face: Identity, lamp: portrait.Lamp, canvas: Grid, gains: tuple[float, float]):
        self._face, self._lamp, self._canvas, self._gains = face, lamp, canvas, gains
        self._relief = portrait.relief(face, canvas)
        self._inside = portrait.smoothstep(1.0, 0.9, portrait.face_radius(face, canvas))
        self._plain = portrait.relight(self._relief, canvas.step, lamp)
        beard = features.beard_mask(face, canvas)
        self._bare = 1.0 - np.float32(_BEARD_HIDES) * beard if beard.any() else None

    def _change(self, lit: Plane, weight: float = 1.0) -> Plane:
        change = np.clip(lit / np.maximum(self._plain, 0.05) - 1.0, -0.75, 0.8)
        return (weight * self._inside * change).astype(np.float32)

    def of_actions(self, apexes: Mapping[Unit, Action]) -> dict[Unit, Shade]:
        """Change by every action at its apex."""
        return {unit: boxed(self._of_action(apex)) for unit, apex in apexes.items()}

    def _of_action(self, apex: Action) -> Plane:
        canvas = self._canvas
        bent = self._relief + actions.relief_change(apex, self._face, canvas, self._gains)
        shade = self._change(portrait.relight(bent, canvas.step, self._lamp))
        if self._bare is not None:
            shade = shade * self._bare
        if apex.blanch:
            shade = unboxed(boxed(shade), shade.shape) + self._lip_mask() * np.float32(0.45 * apex.blanch)
        return shade

    def of_light(self) -> tuple[Shade, Shade]:
        """Change by a light that turns sideways and downwards, for each unit of the tangent."""

        def turned(dx: float, dy: float) -> Shade:
            x, y = self._lamp.direction_x + dx, self._lamp.direction_y + dy
            lamp = dataclasses.replace(self._lamp, direction_x=x, direction_y=y)
            return boxed(
                self._change(portrait.relight(self._relief, self._canvas.step, lamp), 1.0 / self._TURN)
            )

        return turned(self._TURN, 0.0), turned(0.0, self._TURN)

    def at_rest(self, apex_of: Callable[[int], Action]) -> Plane:
        """Factor on the portrait's brightness by furrows that never leave the face."""
        gain = np.ones(self._canvas.shape, np.float32)
        for trace in self._face.resting:
            gain += np.float32(trace.furrows) * self._of_action(apex_of(trace.au))
        return np.clip(gain, 0.4, 1.5)

    def _lip_mask(self) -> Plane:
        face, grid = self._face, self._canvas
        t = np.clip(np.abs(grid.x) / face.mouth_half_width, 0.0, 1.0)
        line = face.mouth_line(grid.x)
        above = np.abs(grid.y - line + 0.5 * face.lip_upper) < 0.4 * face.lip_upper
        below = np.abs(grid.y - line - 0.5 * face.lip_lower) < 0.4 * face.lip_lower
        return ((above | below) * (1.0 - t**2)).astype(np.float32)


def boxed(gain: Plane) -> Shade:
    """A plane of changes cut to where it is not negligible."""
    rows = np.flatnonzero(np.abs(gain).max(1) > _FLOOR)
    columns = np.flatnonzero(np.abs(gain).max(0) > _FLOOR)
    if not len(rows):
        return Shade(np.s_[0:1, 0:1], np.zeros((1, 1), np.float32))
    box = np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return Shade(box, np.ascontiguousarray(gain[box]))


def unboxed(shade: Shade, shape: tuple[int, int]) -> Plane:
    """The whole plane of a cut one."""
    full = np.zeros(shape, np.float32)
    full[shade.box] = shade.gain
    return full
