"""What moves or changes in a video without being an AU: head, crop, light, gaze, blinks, speech, sensor."""

import dataclasses
import io

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage, special


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
        crop_jitter: standard deviation of each frame's error of the crop's place before smoothing, eye
            units; the crop is redone every frame with landmarks that are a little wrong.
        crop_turn: of its angle, degrees.
        crop_zoom: of the logarithm of its size.
        crop_window: frames over which the alignment smooths its landmarks, odd: these errors are averaged
            with the weights of the method "mean" of `mdhr_jax.faces.smoothing`, which in a whole window are
            also those of "linear"; 1 leaves them as they are.
        wall: of the drift of the background against the head, eye units.
        speech: strongest movement of jaw and lips while speaking, as an intensity of 26 and 25; below every
            label threshold, for speech is not labelled.
        speech_share: share of the time in which the subject speaks.
        exposure_spread: standard deviation of the logarithm of the brightness between videos.
        noise_spread: half width of the logarithm of the noise between videos.
        jpeg: lowest and highest quality of the recording's compression, drawn for each video; none leaves
            the frames as they are.
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
    crop_jitter: float = 0.0
    crop_turn: float = 0.0
    crop_zoom: float = 0.0
    crop_window: int = 1
    wall: float = 0.0
    speech: float = 0.0
    speech_share: float = 0.0
    exposure_spread: float = 0.0
    noise_spread: float = 0.0
    jpeg: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Drift:
    """Distractors of every frame of a video; lengths in eye units, angles in degrees.

    Attributes:
        head_pose: yaw (positive: towards the viewer's right), pitch (positive: downwards) and roll
            (positive: clockwise as seen), the crop's own error of angle included.
        shift: position of the head in x and y.
        zoom: size of the head relative to the canonical crop.
        exposure: brightness relative to the video's mean.
        light_turn: change of the light's direction in x and y.
        gaze: displacement of the irises in x and y, radii of the iris.
        blink: how far a blink has closed the eyes, 0 to 1.
        speech: movement of the jaw and of the lips by speech, as intensities of 26 and 25.
        wall: displacement of the background in x and y, eye units.
    """

    head_pose: Float[np.ndarray, "F 3"]
    shift: Float[np.ndarray, "F 2"]
    zoom: Float[np.ndarray, " F"]
    exposure: Float[np.ndarray, " F"]
    light_turn: Float[np.ndarray, "F 2"]
    gaze: Float[np.ndarray, "F 2"]
    blink: Float[np.ndarray, " F"]
    speech: Float[np.ndarray, "F 2"]
    wall: Float[np.ndarray, "F 2"]


def still(frames: int) -> Drift:
    """A head that holds still in front of the camera under constant light."""
    zero, pair = np.zeros(frames, np.float32), np.zeros((frames, 2), np.float32)
    return Drift(np.zeros((frames, 3), np.float32), pair, zero + 1, zero + 1, pair, pair, zero, pair, pair)


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
    # What easy lacks is drawn last, so that easy stays as it is.
    speech = _speech(config, frames, fps, rng) if config.speech else np.zeros((frames, 2))
    crop = _crop_errors(config, frames, rng) if config.crop_jitter else np.zeros((frames, 4), np.float32)
    wall = config.wall * _wander(rng, frames, 2) if config.wall else np.zeros((frames, 2))
    level = float(np.exp(config.exposure_spread * rng.uniform(-1.7, 1.7)))
    motion[:, 3:5] += crop[:, :2]
    motion[:, 2] += crop[:, 2]
    motion[:, 5] += crop[:, 3]
    return Drift(
        head_pose=motion[:, :3],
        shift=motion[:, 3:5],
        zoom=np.exp(motion[:, 5]),
        exposure=(level * np.exp(config.exposure * light[:, 0])).astype(np.float32),
        light_turn=(config.light_turn * light[:, 1:]).astype(np.float32),
        gaze=(config.gaze * saccades).astype(np.float32),
        blink=blink.astype(np.float32),
        speech=speech.astype(np.float32),
        wall=(wall + crop[:, :2]).astype(np.float32),
    )


def _crop_errors(config: DistractorConfig, frames: int, rng: np.random.Generator) -> Float[np.ndarray, "F 4"]:
    """Errors of the crop's place in x and y, of its angle and of the logarithm of its size."""
    reach = config.crop_window // 2
    drawn = rng.standard_normal((frames + 2 * reach, 4))
    weights = np.exp2(-3.0 * (np.arange(-reach, reach + 1) / max(reach, 1)) ** 2)
    terms = [weight * drawn[i : i + frames] for i, weight in enumerate((weights / weights.sum()).tolist())]
    scale = np.asarray([config.crop_jitter, config.crop_jitter, config.crop_turn, config.crop_zoom])
    return (sum(terms[1:], start=terms[0]) * scale).astype(np.float32)


def _speech(
    config: DistractorConfig, frames: int, fps: float, rng: np.random.Generator
) -> Float[np.ndarray, "F 2"]:
    """Bouts of a few seconds of syllables, about four a second, of uneven size; jaw and lips out of step."""
    # Smooth noise above the quantile that leaves the wanted share marks when the subject speaks.
    slow = _wander(rng, frames, 1)[:, 0]
    bouts = ndimage.gaussian_filter1d((slow > _upper_quantile(config.speech_share)).astype(float), 0.1 * fps)
    rate = rng.uniform(3.0, 5.0) * (1.0 + 0.15 * _wander(rng, frames, 1)[:, 0])
    phase = 2.0 * np.pi * (np.cumsum(rate) / fps + rng.uniform())
    size = ndimage.gaussian_filter1d(rng.uniform(0.0, 1.0, (frames, 2)), 1.5, axis=0)
    wave = 0.5 - 0.5 * np.cos(np.stack([phase, phase + 0.8], -1))
    return np.clip(config.speech * bouts[:, None] * wave * np.clip(1.3 * size, 0.2, 1.0), 0.0, config.speech)


def _upper_quantile(share: float) -> float:
    """Level that a standard normal value exceeds in that share of cases."""
    return float(special.ndtri(1.0 - share))


class Sensor:
    """Adds noise, rounds to 8 bits and compresses.

    One large tile of noise is drawn a video; each frame uses another place of it, mirrored at random, which
    costs a tenth of drawing every value anew.
    """

    _SLACK = 61

    def __init__(self, size: int, level: float, rng: np.random.Generator, jpeg: int | None = None):
        self._size = size
        self._jpeg = jpeg
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
        frame = np.clip(image, 0.0, 255.0, out=image).astype(np.uint8)
        if self._jpeg is None:
            return frame
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=self._jpeg)
        with Image.open(buffer, formats=("JPEG",)) as coded:
            return np.array(coded)


def make_sensor(config: DistractorConfig, size: int, rng: np.random.Generator) -> Sensor:
    """The camera of one video: its noise and its compression."""
    level, quality = config.noise, None
    if config.noise_spread:
        level *= float(np.exp(config.noise_spread * rng.uniform(-1.0, 1.0)))
    if config.jpeg is not None:
        quality = int(rng.integers(config.jpeg[0], config.jpeg[1] + 1))
    return Sensor(size, level, rng, quality)
