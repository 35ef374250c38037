"""What moves or changes in a video without being an AU: head, light, gaze, blinks, sensor noise."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8


@dataclasses.dataclass(frozen=True)
class DistractorConfig:
    """Strength of what is not an AU.

    Attributes:
        yaw: standard deviation of turning left and right, degrees.
        pitch: of nodding, degrees.
        roll: of tilting, degrees.
        shift: of the position in the crop, eye units.
        zoom: of the logarithm of the size.
        exposure: of the logarithm of the overall brightness.
        light_turn: of the direction of the light, as a tangent.
        gaze: of the direction of the eyes, in radii of the iris.
        blinks_per_second: mean number of blinks.
        noise: standard deviation of the sensor noise, grey levels.
    """

    yaw: float = 2.5
    pitch: float = 2.0
    roll: float = 1.2
    shift: float = 0.012
    zoom: float = 0.008
    exposure: float = 0.03
    light_turn: float = 0.06
    gaze: float = 0.12
    blinks_per_second: float = 0.15
    noise: float = 2.0


@dataclasses.dataclass(frozen=True)
class Drift:
    """Distractors of every frame of a video; lengths in eye units, angles in degrees.

    Attributes:
        head_pose: yaw (positive: towards the viewer's right), pitch (positive: downwards) and roll
            (positive: clockwise as seen).
        shift: position of the head in x and y.
        zoom: size of the head relative to the canonical crop.
        exposure: brightness relative to the video's mean.
        light_turn: change of the light's direction in x and y.
        gaze: displacement of the irises in x and y, radii of the iris.
        blink: how far a blink has closed the eyes, 0 to 1.
    """

    head_pose: Float[np.ndarray, "F 3"]
    shift: Float[np.ndarray, "F 2"]
    zoom: Float[np.ndarray, " F"]
    exposure: Float[np.ndarray, " F"]
    light_turn: Float[np.ndarray, "F 2"]
    gaze: Float[np.ndarray, "F 2"]
    blink: Float[np.ndarray, " F"]


def still(frames: int) -> Drift:
    """A head that holds still in front of the camera under constant light."""
    zero, pair = np.zeros(frames, np.float32), np.zeros((frames, 2), np.float32)
    return Drift(np.zeros((frames, 3), np.float32), pair, zero + 1, zero + 1, pair, pair, zero)


def _wander(rng: np.random.Generator, frames: int, columns: int) -> Float[np.ndarray, "F C"]:
    """Slow random motion of unit variance over long times: a few sinusoids of random phase."""
    clock = np.arange(frames)[:, None, None]
    periods = np.exp(rng.uniform(np.log(30.0), np.log(220.0), (1, columns, 4)))
    phases = rng.uniform(0.0, 2.0 * np.pi, (1, columns, 4))
    weights = rng.uniform(0.5, 1.0, (1, columns, 4))
    weights = weights / np.sqrt(0.5 * (weights**2).sum(-1, keepdims=True))
    return (weights * np.sin(2.0 * np.pi * clock / periods + phases)).sum(-1)


def drift(config: DistractorConfig, frames: int, fps: float, rng: np.random.Generator) -> Drift:
    """Draws the distractors of one video of `frames` frames at `fps` frames a second."""
    motion = _wander(rng, frames, 6)
    light = _wander(rng, frames, 3)
    saccades = rng.normal(0.0, 1.0, (frames // 20 + 2, 2))[np.arange(frames) // 20]
    blink = np.zeros(frames)
    shape = np.asarray([0.45, 0.95, 1.0, 0.75, 0.4, 0.15])
    for start in np.flatnonzero(rng.uniform(size=frames) < config.blinks_per_second / fps):
        part = shape[: frames - start]
        blink[start : start + len(part)] = np.maximum(blink[start : start + len(part)], part)
    scale = np.asarray([config.yaw, config.pitch, config.roll, config.shift, config.shift, config.zoom])
    motion = (motion * scale).astype(np.float32)
    return Drift(
        head_pose=motion[:, :3],
        shift=motion[:, 3:5],
        zoom=np.exp(motion[:, 5]),
        exposure=np.exp(config.exposure * light[:, 0]).astype(np.float32),
        light_turn=(config.light_turn * light[:, 1:]).astype(np.float32),
        gaze=(config.gaze * saccades).astype(np.float32),
        blink=blink.astype(np.float32),
    )


class Sensor:
    """Adds noise and rounds to 8 bits.

    One large tile of noise is drawn a video; each frame uses another place of it, mirrored at random, which
    costs a tenth of drawing every value anew.
    """

    _SLACK = 61

    def __init__(self, size: int, level: float, rng: np.random.Generator):
        self._size = size
        self._rng = rng
        shape = (size + self._SLACK, size + self._SLACK, 3)
        # Adding a half here lets the conversion to integers round instead of truncate.
        self._tile = np.float32(level) * rng.standard_normal(shape, dtype=np.float32) + np.float32(0.5)

    def read(self, image: Float[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S 3"]:
        """A frame as the sensor reports it; `image` is in grey levels and is overwritten."""
        top, left = self._rng.integers(0, self._SLACK + 1, 2).tolist()
        turn = int(self._rng.integers(4))
        tile = self._tile[top : top + self._size, left : left + self._size]
        image += tile[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1]
        return np.clip(image, 0.0, 255.0, out=image).astype(np.uint8)
