"""One subject's frames: warp of the neutral portrait, shading of folds, eyes, mouth, head pose, light.

The portrait is painted once a subject and video. A frame takes one inverse warp of it: sliding skin (sum
of the AU fields), the head's turn (the relief shifted by its height) and the head's position are composed
on a coarse grid, which is interpolated to all pixels; then one bilinear gather reads the portrait.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from mdhr_jax.data.synthetic import actions, eyes, features, interactions, landmarks, portrait, warp
from mdhr_jax.data.synthetic.apexes import Action
from mdhr_jax.data.synthetic.distractors import Drift
from mdhr_jax.data.synthetic.fields import make_grid, sample
from mdhr_jax.data.synthetic.identity import Identity
from mdhr_jax.data.synthetic.interactions import Unit
from mdhr_jax.data.synthetic.measured import measured_action
from mdhr_jax.data.synthetic.shading import Shader

EYE_HEIGHT = 0.29
"""Height of the eyes in the canonical crop, as a share of its side."""
EYE_DISTANCE = 0.35
"""Distance of the eyes in the canonical crop, as a share of its side."""

_MARGIN = 0.09  # of the crop's side, painted around it so that a drifting head shows no border
Slide = Float[np.ndarray, "2 h w"]
_GLASSES_HEIGHT = 0.2  # of the lenses before the eyes, eye units
_LOWER_REACH, _UPPER_REACH = 0.2, 0.11  # how far skin follows a parting lip, eye units


@dataclasses.dataclass(frozen=True)
class Style:
    """How the actions of all faces of a data set look.

    Attributes:
        measured: whether apexes have their measured sizes and pairs of AUs act as FACS has it; else the
            plain ones of the preset ``easy``.
        speaks: whether lips and jaw may move without an AU.
    """

    measured: bool = False
    speaks: bool = False


_PLAIN_STYLE = Style()
_SPEECH_AUS = (26, 25)  # what jaw and lips of speech look like


class Renderer:
    """Draws one subject under one light.

    Args:
        face: who.
        lamp: the light of the video.
        aus: FACS numbers that frames may use.
        size: side of the frames, pixels.
        style: how actions look.
    """

    def __init__(
        self,
        face: Identity,
        lamp: portrait.Lamp,
        aus: Sequence[int],
        size: int,
        style: Style = _PLAIN_STYLE,
    ):
        self.face = face
        self._style = style
        self.size = size
        self.pixel = 1.0 / (EYE_DISTANCE * size)
        margin = int(np.ceil(_MARGIN * size))
        side = size + 2 * margin
        # Pixel i has its centre at i + 0.5; the first painted pixel lies `margin` before the crop.
        first_x = (0.5 - margin - 0.5 * size) * self.pixel
        first_y = (0.5 - margin - EYE_HEIGHT * size) * self.pixel
        self._canvas = make_grid(first_x, first_y, self.pixel, side, side)
        self._margin = margin
        self._wall = self._paint_wall()
        self._portrait = portrait.portrait(face, lamp, self._canvas)
        self._stride = max(1, round(size / 85))
        step = self.pixel * self._stride
        count = -(-side // self._stride) + 1
        self._coarse = make_grid(first_x, first_y, step, count, count)
        self._rules = interactions.FULL if style.measured else interactions.PLAIN
        drawn = tuple(dict.fromkeys((*aus, *(_SPEECH_AUS if style.speaks else ()))))
        self.actions: dict[Unit, Action] = {au: self._apex(au) for au in drawn}
        pairs = self._rules.pairs.items()
        self.actions |= {pair: draw(face) for pair, draw in pairs if set(pair) <= set(drawn)}
        gains = (face.left_gain, face.right_gain)
        self._slides = {
            unit: actions.displacement(apex, self._coarse, gains) for unit, apex in self.actions.items()
        }
        height = portrait.relief(face, self._coarse)
        self._height = height - sample(height[None], self._coarse, *_points([(0.5, 0.0)]))[0, 0]
        shader = Shader(face, lamp, self._canvas, gains)
        self._shades = shader.of_actions(self.actions)
        self._light_shades = shader.of_light()
        self._rest_slide, self._rest_lids = None, (0.0, 0.0)
        if face.resting or face.slant:
            self._rest_slide, self._rest_lids = self._neutral_traces(gains)
            self._portrait[..., :3] *= shader.at_rest(self._apex)[..., None]

    def skin_slide(self, intensities: Mapping[int, float]) -> Slide:
        """How far AUs and their pairs have moved the skin, eye units, on a coarse grid."""
        units = interactions.with_pairs(self._rules, intensities)
        return np.sum([np.float32(value) * self._slides[unit] for unit, value in units.items()], axis=0)

    def _apex(self, au: int) -> Action:
        return (measured_action if self._style.measured else actions.action)(au, self.face)

    def _paint_wall(self) -> Float[np.ndarray, "H W 3"]:
        """The wall with a margin where it can move against the crop, else just what the crop shows."""
        if self.face.clutter:
            return portrait.backdrop(self.face, self._canvas)
        start_x, start_y = (0.5 - 0.5 * self.size) * self.pixel, (0.5 - EYE_HEIGHT * self.size) * self.pixel
        return portrait.backdrop(self.face, make_grid(start_x, start_y, self.pixel, self.size, self.size))

    def _neutral_traces(self, gains: tuple[float, float]) -> tuple[Slide, tuple[float, float]]:
        """Slide of the neutral face, and how far its lids close; parted lips are never at rest."""
        slide = features.slant_shift(self.face, self._coarse)
        upper = lower = 0.0
        for trace in self.face.resting:
            apex = self._apex(trace.au)
            slide += np.float32(trace.shape) * actions.displacement(apex, self._coarse, gains)
            upper += trace.shape * apex.upper_lid
            lower += trace.shape * apex.lower_lid
        # However heavy the lids, the eyes of a resting face are open.
        return slide, (min(upper, 0.3), min(lower, 0.5))

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
        active = self._active(intensities, drift.speech[index])
        slide = self._slide(active, drift.head_pose[index])
        lids_lips = interactions.combine_openings(self.actions, active, self._rules)
        matrix, offset = self._head_matrix(drift, index)
        position = self._positions(slide, matrix, offset)
        mouth = self._part_lips(position, slide, lids_lips[2:], matrix, offset)
        texture = self._shaded(active, drift.light_turn[index])
        picture = warp.gather(texture, self._canvas, self.pixel, position, self._wall_now(drift.wall[index]))
        exposure = float(drift.exposure[index])
        bright = exposure * 0.95
        if mouth is not None:
            box, x, y, upper, lower = mouth
            eyes.draw_mouth(picture[box], x, y, upper, lower, self.face, bright, self.pixel)
        rest = self._rest_lids
        lids = eyes.lid_heights(
            self.face,
            rest[0] + (1.0 - rest[0]) * lids_lips[0],
            rest[1] + (1.0 - rest[1]) * lids_lips[1],
            float(drift.blink[index]),
        )
        gaze = (float(drift.gaze[index, 0]), float(drift.gaze[index, 1]))
        sockets = {}
        for side in (-1.0, 1.0):
            turned = self._pose_shift(drift.head_pose[index], (0.5 * side, 0.0))
            sockets[side] = centre = (0.5 * side + turned[0], turned[1])
            box = self._box(centre, (0.3, 0.2), matrix, offset)
            x, y = self._to_face(box, matrix, offset)
            x, y = x - np.float32(centre[0]), y - np.float32(centre[1])
            eyes.draw_eye(picture[box], x, y, self.face, side, lids, gaze, bright, self.pixel)
        if self.face.glasses is not None:
            self._wear_glasses(picture, drift.head_pose[index], bright, matrix, offset)
        if exposure != 1.0:
            picture *= np.float32(exposure)
        moved = self._forward(slide, landmarks.on_skin(self.face))
        points = landmarks.assemble(self.face, moved, lids, self._lip_shifts(lids_lips[2:]), sockets)
        return picture, ((points - offset) @ np.linalg.inv(matrix).T).astype(np.float32)

    def _active(self, intensities: Mapping[int, float], speech: Float[np.ndarray, "2"]) -> dict[Unit, float]:
        """Strength of everything that acts in a frame; speech fills up what its AUs leave."""
        active = {au: float(value) for au, value in intensities.items() if value > 0.0}
        if self._style.speaks:
            for au, share in zip(_SPEECH_AUS, speech.tolist(), strict=True):
                if share > 0.0:
                    active[au] = active.get(au, 0.0) + share * (1.0 - active.get(au, 0.0))
        return interactions.with_pairs(self._rules, active)

    def _wear_glasses(
        self,
        picture: Float[np.ndarray, "S S 3"],
        pose: Float[np.ndarray, "3"],
        brightness: float,
        matrix: np.ndarray,
        offset: np.ndarray,
    ) -> None:
        glasses = self.face.glasses
        if glasses is None:
            return
        turn = np.sin(np.radians(pose[:2])).tolist()
        x0, y0 = _GLASSES_HEIGHT * turn[0], _GLASSES_HEIGHT * turn[1]
        reach = self.face.face_width + 0.02
        box = self._box((x0, y0 + glasses.y), (reach, glasses.half_height + 0.1), matrix, offset)
        x, y = self._to_face(box, matrix, offset)
        features.draw_glasses(
            picture[box],
            x - np.float32(x0),
            y - np.float32(y0),
            glasses,
            self.face.face_width,
            brightness,
            self.pixel,
        )

    def _wall_now(self, shift: Float[np.ndarray, "2"]) -> Float[np.ndarray, "S S 3"]:
        """What the crop shows of the wall, moved by whole pixels."""
        if len(self._wall) == self.size:
            return self._wall
        place = np.rint(self._margin - shift / self.pixel).clip(0, 2 * self._margin).astype(int)
        return self._wall[place[1] : place[1] + self.size, place[0] : place[0] + self.size]

    def _lower_reach(self, gap: tuple[float, float]) -> float:
        """How far below the lower lip skin follows it, eye units: with a dropping jaw down to the chin."""
        return _LOWER_REACH + (0.4 * max(gap[1] - 0.1, 0.0) if self._style.measured else 0.0)

    def _lip_shifts(self, gap: tuple[float, float]) -> tuple[float, float, float, float]:
        """How far a gap between the lips moves the top and bottom of the upper and of the lower lip."""
        upper = float(np.exp(-0.5 * (self.face.lip_upper / _UPPER_REACH) ** 2))
        lower = float(np.exp(-0.5 * (self.face.lip_lower / self._lower_reach(gap)) ** 2))
        return -gap[0] * upper, -gap[0], gap[1], gap[1] * lower

    def _slide(
        self, active: Mapping[Unit, float], pose: Float[np.ndarray, "3"]
    ) -> Float[np.ndarray, "2 h w"]:
        yaw, pitch = (float(v) for v in np.sin(np.radians(pose[:2])))
        slide = np.stack([np.float32(yaw) * self._height, np.float32(pitch) * self._height])
        if self._rest_slide is not None:
            slide += self._rest_slide
        for unit, value in active.items():
            slide += np.float32(value) * self._slides[unit]
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
        return warp.enlarge(warp.enlarge(coarse, self._stride, 1), self._stride, 2)[
            :, : self.size, : self.size
        ]

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
        lower_reach = self._lower_reach(gap)
        top, bottom = low - 3.0 * _UPPER_REACH, high + 3.0 * lower_reach
        centre = 0.5 * float(moved[-1, 0] + moved[0, 0]), 0.5 * (top + bottom)
        box = self._box(centre, (half, 0.5 * (bottom - top)), matrix, offset)
        x, y = self._to_face(box, matrix, offset)
        line = np.interp(x, moved[:, 0], moved[:, 1]).astype(np.float32)
        t = (x - np.float32(centre[0])) / np.float32(0.97 * half)
        window = np.maximum(1.0 - t * t, 0.0) ** np.float32(0.48 if self._style.measured else 0.7)
        upper, lower = line - np.float32(gap[0]) * window, line + np.float32(gap[1]) * window
        above = np.maximum(upper - y, 0.0) / np.float32(_UPPER_REACH)
        below = np.maximum(y - lower, 0.0) / np.float32(lower_reach)
        shift = np.where(
            y < 0.5 * (upper + lower),
            (line - upper) * np.exp(-0.5 * above * above),
            (line - lower) * np.exp(-0.5 * below * below),
        )
        if self._style.measured:
            # The lips part after the skin has slid: what lies at a lip's edge is the skin of the line.
            moved_y = y + shift
            skin = sample(slide, self._coarse, x.ravel(), moved_y.ravel()).reshape(2, *y.shape)
            position[0][box], position[1][box] = x - skin[0], moved_y - skin[1]
        else:
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
        self, active: Mapping[Unit, float], light_turn: Float[np.ndarray, "2"]
    ) -> Float[np.ndarray, "H W 4"]:
        gain = np.ones((*self._canvas.shape, 1), np.float32)
        for unit, value in active.items():
            shade = self._shades[unit]
            gain[(*shade.box, 0)] += np.float32(value) * shade.gain
        for shade, value in zip(self._light_shades, light_turn, strict=True):
            if value:
                gain[(*shade.box, 0)] += np.float32(value) * shade.gain
        np.clip(gain, 0.3, 1.7, out=gain)
        texture = self._portrait * gain
        texture[..., 3] = self._portrait[..., 3]
        return texture


def _points(pairs: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.asarray(pairs, np.float32)
    return array[:, 0], array[:, 1]
