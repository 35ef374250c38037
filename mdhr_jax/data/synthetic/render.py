"""One subject's frames: warp of the neutral portrait, shading of folds, eyes, mouth, head pose, light.

The portrait is painted once a subject and video. A frame takes one inverse warp of it: sliding skin (sum
of the AU fields), the head's turn (the relief shifted by its height) and the head's position are composed
on a coarse grid, which is interpolated to all pixels; then one bilinear gather reads the portrait.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic import actions, eyes, interactions, landmarks, portrait
from mdhr_jax.data.synthetic.distractors import Drift
from mdhr_jax.data.synthetic.fields import Grid, Plane, make_grid, sample
from mdhr_jax.data.synthetic.identity import Identity

EYE_HEIGHT = 0.29
"""Height of the eyes in the canonical crop, as a share of its side."""
EYE_DISTANCE = 0.35
"""Distance of the eyes in the canonical crop, as a share of its side."""

_MARGIN = 0.09  # of the crop's side, painted around it so that a drifting head shows no border
_SHADE_FLOOR = 0.004  # shading below this share is left out of an AU's box
_BLOCK_ROWS = 32
_LOWER_REACH, _UPPER_REACH = 0.2, 0.11  # how far skin follows a parting lip, eye units


@dataclasses.dataclass(frozen=True)
class Shade:
    """Change of brightness (share) that an AU at apex makes within a box of the portrait."""

    box: tuple[slice, slice]
    gain: Plane


class Renderer:
    """Draws one subject under one light.

    Args:
        face: who.
        lamp: the light of the video.
        aus: FACS numbers that frames may use.
        size: side of the frames, pixels.
    """

    def __init__(self, face: Identity, lamp: portrait.Lamp, aus: Sequence[int], size: int):
        self.face = face
        self.size = size
        self.pixel = 1.0 / (EYE_DISTANCE * size)
        margin = int(np.ceil(_MARGIN * size))
        side = size + 2 * margin
        # Pixel i has its centre at i + 0.5; the first painted pixel lies `margin` before the crop.
        first_x = (0.5 - margin - 0.5 * size) * self.pixel
        first_y = (0.5 - margin - EYE_HEIGHT * size) * self.pixel
        self._canvas = make_grid(first_x, first_y, self.pixel, side, side)
        self._wall = portrait.backdrop(face, self._crop_grid())
        self._portrait = portrait.portrait(face, lamp, self._canvas)
        self._stride = max(1, round(size / 85))
        step = self.pixel * self._stride
        count = -(-side // self._stride) + 1
        self._coarse = make_grid(first_x, first_y, step, count, count)
        self.actions = {au: actions.action(au, face) for au in aus}
        gains = (face.left_gain, face.right_gain)
        self._slides = {
            au: actions.displacement(apex, self._coarse, gains) for au, apex in self.actions.items()
        }
        height = portrait.relief(face, self._coarse)
        self._height = height - sample(height[None], self._coarse, *_points([(0.5, 0.0)]))[0, 0]
        self._prepare_shading(lamp, gains)

    def _crop_grid(self) -> Grid:
        start_x, start_y = (0.5 - 0.5 * self.size) * self.pixel, (0.5 - EYE_HEIGHT * self.size) * self.pixel
        return make_grid(start_x, start_y, self.pixel, self.size, self.size)

    def _prepare_shading(self, lamp: portrait.Lamp, gains: tuple[float, float]) -> None:
        z = portrait.relief(self.face, self._canvas)
        inside = portrait.smoothstep(1.0, 0.9, portrait.face_radius(self.face, self._canvas))
        plain = portrait.relight(z, self._canvas.step, lamp)

        def change(lit: Plane, weight: Plane | float = 1.0) -> Shade:
            gain = weight * inside * np.clip(lit / np.maximum(plain, 0.05) - 1.0, -0.75, 0.8)
            return _boxed(gain.astype(np.float32))

        self._shades = {}
        for au, apex in self.actions.items():
            bent = z + actions.relief_change(apex, self.face, self._canvas, gains)
            shade = change(portrait.relight(bent, self._canvas.step, lamp))
            if apex.blanch:
                shade = _boxed(_unboxed(shade, z.shape) + self._lip_mask() * np.float32(0.45 * apex.blanch))
            self._shades[au] = shade
        turn = 0.25
        self._light_shades = tuple(
            change(
                portrait.relight(
                    z,
                    self._canvas.step,
                    dataclasses.replace(
                        lamp, direction_x=lamp.direction_x + dx, direction_y=lamp.direction_y + dy
                    ),
                ),
                1.0 / turn,
            )
            for dx, dy in ((turn, 0.0), (0.0, turn))
        )

    def _lip_mask(self) -> Plane:
        face, grid = self.face, self._canvas
        t = np.clip(np.abs(grid.x) / face.mouth_half_width, 0.0, 1.0)
        line = face.mouth_line(grid.x)
        above = np.abs(grid.y - line + 0.5 * face.lip_upper) < 0.4 * face.lip_upper
        below = np.abs(grid.y - line - 0.5 * face.lip_lower) < 0.4 * face.lip_lower
        return ((above | below) * (1.0 - t**2)).astype(np.float32)

    def frame(
        self, intensities: Mapping[int, float], drift: Drift, index: int
    ) -> tuple[Float[np.ndarray, "S S 3"], Float[np.ndarray, "K 2"]]:
        """One frame without sensor noise.

        Args:
            intensities: FACS number to intensity in [0, 1]; AUs left out rest.
            drift: distractors of the video.
            index: which frame of `drift`.

        Returns:
            picture in grey levels, float32, not yet clipped; landmarks in pixels (x, y), pixel (0, 0) having
            its centre at (0.5, 0.5), in the order of `landmarks.LANDMARK_NAMES`.
        """
        active = {au: float(value) for au, value in intensities.items() if value > 0.0}
        slide = self._slide(active, drift.head_pose[index])
        lids_lips = interactions.combine_openings(self.actions, active)
        matrix, offset = self._head_matrix(drift, index)
        position = self._positions(slide, matrix, offset)
        mouth = self._part_lips(position, slide, lids_lips[2:], matrix, offset)
        texture = self._shaded(active, drift.light_turn[index])
        picture = self._gather(texture, position)
        exposure = float(drift.exposure[index])
        bright = exposure * 0.95
        if mouth is not None:
            box, x, y, upper, lower = mouth
            eyes.draw_mouth(picture[box], x, y, upper, lower, self.face, bright, self.pixel)
        lids = eyes.lid_heights(self.face, lids_lips[0], lids_lips[1], float(drift.blink[index]))
        gaze = (float(drift.gaze[index, 0]), float(drift.gaze[index, 1]))
        sockets = {}
        for side in (-1.0, 1.0):
            turned = self._pose_shift(drift.head_pose[index], (0.5 * side, 0.0))
            sockets[side] = centre = (0.5 * side + turned[0], turned[1])
            box = self._box(centre, (0.3, 0.2), matrix, offset)
            x, y = self._to_face(box, matrix, offset)
            x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
            eyes.draw_eye(picture[box], x, y, self.face, side, lids, gaze, bright, self.pixel)
        if exposure != 1.0:
            picture *= np.float32(exposure)
        moved = self._forward(slide, landmarks.on_skin(self.face))
        points = landmarks.assemble(self.face, moved, lids, self._lip_shifts(lids_lips[2:]), sockets)
        return picture, ((points - offset) @ np.linalg.inv(matrix).T).astype(np.float32)

    def _lip_shifts(self, gap: tuple[float, float]) -> tuple[float, float, float, float]:
        """How far a gap between the lips moves the top and bottom of the upper and of the lower lip."""
        upper = float(np.exp(-0.5 * (self.face.lip_upper / _UPPER_REACH) ** 2))
        lower = float(np.exp(-0.5 * (self.face.lip_lower / _LOWER_REACH) ** 2))
        return -gap[0] * upper, -gap[0], gap[1], gap[1] * lower

    def _slide(self, active: Mapping[int, float], pose: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 h w"]:
        yaw, pitch = (float(v) for v in np.sin(np.radians(pose[:2])))
        slide = np.stack([np.float32(yaw) * self._height, np.float32(pitch) * self._height])
        for au, value in active.items():
            slide += np.float32(value) * self._slides[au]
        return slide

    def _pose_shift(self, pose: Float[np.ndarray, "3"], where: tuple[float, float]) -> tuple[float, float]:
        height = float(sample(self._height[None], self._coarse, *_points([where]))[0, 0])
        yaw, pitch = (float(v) for v in np.sin(np.radians(pose[:2])))
        return yaw * height, pitch * height

    def _head_matrix(
        self, drift: Drift, index: int
    ) -> tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2"]]:
        """Map from pixels to eye units of the head: p = matrix @ pixel + offset."""
        roll = float(np.radians(drift.head_pose[index, 2]))
        cos, sin = np.cos(roll), np.sin(roll)
        matrix = np.asarray([[cos, sin], [-sin, cos]]) * self.pixel / float(drift.zoom[index])
        middle = np.asarray([0.5 * self.size, EYE_HEIGHT * self.size])
        middle = middle + drift.shift[index].astype(np.float64) / self.pixel
        return matrix, -matrix @ middle

    def _positions(
        self, slide: Float[np.ndarray, "2 h w"], matrix: np.ndarray, offset: np.ndarray
    ) -> Float[np.ndarray, "2 S S"]:
        """Where in the portrait (eye units) every pixel comes from."""
        count = -(-(self.size - 1) // self._stride) + 1
        pixel = (self._stride * np.arange(count) + 0.5).astype(np.float32)
        x = np.float32(matrix[0, 0]) * pixel[None, :] + np.float32(matrix[0, 1]) * pixel[:, None]
        y = np.float32(matrix[1, 0]) * pixel[None, :] + np.float32(matrix[1, 1]) * pixel[:, None]
        x, y = x + np.float32(offset[0]), y + np.float32(offset[1])
        moved = sample(slide, self._coarse, x.ravel(), y.ravel()).reshape(2, count, count)
        coarse = np.stack([x, y]) - moved
        return _enlarge(_enlarge(coarse, self._stride, 1), self._stride, 2)[:, : self.size, : self.size]

    def _box(
        self, centre: tuple[float, float], half: tuple[float, float], matrix: np.ndarray, offset: np.ndarray
    ) -> tuple[slice, slice]:
        """Pixels that surround a rectangle of the head."""
        corners = np.asarray(
            [[centre[0] + i * half[0], centre[1] + j * half[1]] for i in (-1, 1) for j in (-1, 1)]
        )
        pixels = (corners - offset) @ np.linalg.inv(matrix).T
        low = np.clip(np.floor(pixels.min(0)), 0, self.size - 2).astype(int)
        high = np.clip(np.ceil(pixels.max(0)), low + 2, self.size).astype(int)
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def _to_face(
        self, box: tuple[slice, slice], matrix: np.ndarray, offset: np.ndarray
    ) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """Eye units of the head at the pixels of a box."""
        m, o = matrix.astype(np.float32), offset.astype(np.float32)
        row = np.arange(box[0].start, box[0].stop, dtype=np.float32)[:, None] + np.float32(0.5)
        column = np.arange(box[1].start, box[1].stop, dtype=np.float32)[None, :] + np.float32(0.5)
        return m[0, 0] * column + m[0, 1] * row + o[0], m[1, 0] * column + m[1, 1] * row + o[1]

    def _part_lips(
        self,
        position: Float[np.ndarray, "2 S S"],
        slide: Float[np.ndarray, "2 h w"],
        gap: tuple[float, float],
        matrix: np.ndarray,
        offset: np.ndarray,
    ):
        """Moves the skin above and below the line between the lips apart, in `position`.

        Returns:
            None where the lips touch; else the box of the mouth and, in it, columns, rows and the edges
            of the upper and the lower lip (eye units).
        """
        if sum(gap) < 0.2 * self.pixel:
            return None
        face = self.face
        rest = np.linspace(-face.mouth_half_width, face.mouth_half_width, 17)
        moved = self._forward(slide, np.stack([rest, face.mouth_line(rest)], -1))
        half = 0.5 * float(moved[-1, 0] - moved[0, 0])
        low, high = float(moved[:, 1].min()) - gap[0], float(moved[:, 1].max()) + gap[1]
        top, bottom = low - 3.0 * _UPPER_REACH, high + 3.0 * _LOWER_REACH
        centre = 0.5 * float(moved[-1, 0] + moved[0, 0]), 0.5 * (top + bottom)
        box = self._box(centre, (half, 0.5 * (bottom - top)), matrix, offset)
        x, y = self._to_face(box, matrix, offset)
        line = np.interp(x, moved[:, 0], moved[:, 1]).astype(np.float32)
        t = (x - np.float32(centre[0])) / np.float32(0.97 * half)
        window = np.maximum(1.0 - t * t, 0.0) ** np.float32(0.7)
        upper, lower = line - np.float32(gap[0]) * window, line + np.float32(gap[1]) * window
        above = np.maximum(upper - y, 0.0) / np.float32(_UPPER_REACH)
        below = np.maximum(y - lower, 0.0) / np.float32(_LOWER_REACH)
        shift = np.where(
            y < 0.5 * (upper + lower),
            (line - upper) * np.exp(-0.5 * above * above),
            (line - lower) * np.exp(-0.5 * below * below),
        )
        position[1][box] += shift
        # Only the rows between the lips need to be drawn.
        inside = self._box((centre[0], 0.5 * (low + high)), (half, 0.5 * (high - low) + 0.03), matrix, offset)
        part = slice(inside[0].start - box[0].start, inside[0].stop - box[0].start)
        return (inside[0], box[1]), x[part], y[part], upper[part], lower[part]

    def _forward(self, slide: Float[np.ndarray, "2 h w"], rest: Float[np.ndarray, "n 2"]) -> np.ndarray:
        """Where material points of the neutral face end up: solves p = rest + slide(p) by iteration."""
        rest = rest.astype(np.float32)
        moved = rest
        for _ in range(5):
            moved = rest + sample(slide, self._coarse, moved[:, 0], moved[:, 1]).T
        return moved

    def _shaded(
        self, active: Mapping[int, float], light_turn: Float[np.ndarray, "2"]
    ) -> Float[np.ndarray, "H W 4"]:
        gain = np.ones((*self._canvas.shape, 1), np.float32)
        for au, value in active.items():
            shade = self._shades[au]
            gain[(*shade.box, 0)] += np.float32(value) * shade.gain
        for shade, value in zip(self._light_shades, light_turn, strict=True):
            if value:
                gain[(*shade.box, 0)] += np.float32(value) * shade.gain
        np.clip(gain, 0.3, 1.7, out=gain)
        texture = self._portrait * gain
        texture[..., 3] = self._portrait[..., 3]
        return texture

    def _gather(
        self, texture: Float[np.ndarray, "H W 4"], position: Float[np.ndarray, "2 S S"]
    ) -> Float[np.ndarray, "S S 3"]:
        """Bilinear reading of the portrait, laid over the wall."""
        height, width = self._canvas.shape
        scale = np.float32(1.0 / self.pixel)
        # Four float32 are one complex128, so that each corner is a single gather of 16-byte items.
        flat = texture.view(np.complex128).reshape(-1)
        picture = np.empty((self.size, self.size, 3), np.float32)
        # Blocks of rows keep the temporaries in the processor's cache.
        for start in range(0, self.size, _BLOCK_ROWS):
            rows = slice(start, min(start + _BLOCK_ROWS, self.size))
            column = np.clip((position[0, rows] - self._canvas.x[0, 0]) * scale, 0.0, width - 1.01)
            row = np.clip((position[1, rows] - self._canvas.y[0, 0]) * scale, 0.0, height - 1.01)
            left, top = column.astype(np.intp), row.astype(np.intp)
            # Repeating the weights is faster than broadcasting them over so short an axis.
            fx, fy = (np.repeat(part, 4).reshape(*left.shape, 4) for part in (column - left, row - top))
            corners = []
            for shift in (0, 1, width, width + 1):
                taken = flat.take(top * width + left + shift, mode="clip")
                corners.append(taken.view(np.float32).reshape(*left.shape, 4))
            first, second, third, fourth = corners
            second -= first
            second *= fx
            first += second
            fourth -= third
            fourth *= fx
            third += fourth
            third -= first
            third *= fy
            first += third
            np.multiply(self._wall[rows], 1.0 - first[..., 3:], out=picture[rows])
            picture[rows] += first[..., :3]
        return picture


def _points(pairs: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.asarray(pairs, np.float32)
    return array[:, 0], array[:, 1]


def _boxed(gain: Plane) -> Shade:
    rows = np.flatnonzero(np.abs(gain).max(1) > _SHADE_FLOOR)
    columns = np.flatnonzero(np.abs(gain).max(0) > _SHADE_FLOOR)
    if not len(rows):
        return Shade(np.s_[0:1, 0:1], np.zeros((1, 1), np.float32))
    box = np.s_[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    return Shade(box, np.ascontiguousarray(gain[box]))


def _unboxed(shade: Shade, shape: tuple[int, int]) -> Plane:
    full = np.zeros(shape, np.float32)
    full[shade.box] = shade.gain
    return full


def _enlarge(coarse: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """Linear interpolation along one axis: n samples to (n - 1) * factor + 1."""
    if factor == 1:
        return coarse
    count = coarse.shape[axis]
    lower = np.take(coarse, np.arange(count - 1), axis)
    rise = np.take(coarse, np.arange(1, count), axis) - lower
    shape = list(coarse.shape)
    shape[axis] = (count - 1) * factor + 1
    out = np.empty(shape, np.float32)
    index: list[slice] = [slice(None)] * coarse.ndim
    for part in range(factor):
        index[axis] = slice(part, shape[axis] - 1, factor)
        out[tuple(index)] = lower + np.float32(part / factor) * rise
    index[axis] = slice(shape[axis] - 1, None)
    out[tuple(index)] = np.take(coarse, [count - 1], axis)
    return out
