"""Which clips are drawn: the endless training stream and the evaluation windows.

Pure functions of numbers: what is drawn depends on the seed, the epoch and the video, and on nothing
else (neither on workers, nor on hosts, nor on what was drawn before), so that training can stop and go
on at any position.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from mdhr_jax.data import layout
from mdhr_jax.data.records import DECODE_EDGES, Video

JITTER = 0.4
"""How far brightness, contrast and saturation factors may be from 1 in the reference's recipe."""

FACTOR_STEPS = 1 << 14
"""Factors are multiples of 1 / FACTOR_STEPS, so that the arithmetic on 8-bit pixels is exact everywhere."""

CROP_MARGIN = 32
"""Pixels that a training crop leaves out of a frame of 256 in the reference's recipe (224 are kept)."""

_ORDER_STREAM = 0
_CLIP_STREAM = 1


def resized_edge(image_size: int, crop_margin: int = CROP_MARGIN) -> int:
    """Edge in pixels that frames are resized to before a training crop of `image_size` pixels.

    256 for an input of 224 (no change), in proportion for others.

    Args:
        image_size: edge of the crop.
        crop_margin: what the crop leaves out, in pixels of a frame of 256.

    Raises:
        ValueError: the frames stored would have to be enlarged.
    """
    if not 0 <= crop_margin < layout.IMAGE_EDGE:
        raise ValueError(f"crop_margin must be at least 0 and below {layout.IMAGE_EDGE}, found {crop_margin}")
    kept = layout.IMAGE_EDGE - crop_margin
    edge = round(image_size * layout.IMAGE_EDGE / kept)
    if not 1 <= image_size <= edge <= layout.IMAGE_EDGE:
        raise ValueError(
            f"an input of {image_size} pixels needs frames of {edge}, but those stored have "
            f"{layout.IMAGE_EDGE}; choose an image size of at most {kept}"
        )
    return edge


def decode_edge(image_size: int, crop_margin: int = CROP_MARGIN) -> int:
    """Edge in pixels that frames are decoded to: 128 where that is enough (it is faster), else 256.

    Raises:
        ValueError: the frames stored would have to be enlarged.
    """
    return min(edge for edge in DECODE_EDGES if edge >= resized_edge(image_size, crop_margin))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """One clip's draw; all its frames are treated alike.

    Attributes:
        offset_y: vertical place of the crop, a fraction in [0, 1) of the offsets that exist.
        offset_x: horizontal place of the crop, likewise.
        flip: whether left and right are exchanged.
        brightness: factor, 1 changes nothing.
        contrast: factor.
        saturation: factor.
    """

    offset_y: float
    offset_x: float
    flip: bool
    brightness: float
    contrast: float
    saturation: float

    def offset(self, margin: int) -> tuple[int, int]:
        """Upper left corner (y, x) of the crop in pixels, each uniform over 0..margin."""
        return int(self.offset_y * (margin + 1)), int(self.offset_x * (margin + 1))

    @property
    def factors(self) -> tuple[float, float, float]:
        """Brightness, contrast, saturation."""
        return self.brightness, self.contrast, self.saturation


@dataclasses.dataclass(frozen=True)
class Clip:
    """A training clip.

    Attributes:
        video: position in the list of videos.
        start: first list entry.
        length: entries taken; fewer than the clip's frames only where the video is shorter.
        augmentation: the clip's draw.
    """

    video: int
    start: int
    length: int
    augmentation: Augmentation


def _generator(seed: int, stream: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(stream, *key))))


class ClipStream:
    """Endless stream of training clips, epoch after epoch.

    Each epoch takes `clips_per_video` clips of every video, in an order drawn from (seed, epoch). Start
    and augmentation of a clip are drawn from (seed, epoch, video, copy) alone. Videos shorter than a
    clip are taken whole.

    Args:
        num_frames: list entries of each video.
        clip_length: frames of a clip.
        seed: a whole number, not negative.
        clips_per_video: clips of each video in an epoch.
        jitter: brightness, contrast and saturation factors are uniform over 1 - jitter .. 1 + jitter.

    Raises:
        ValueError: there are no videos, one is empty, or a number is out of range.
    """

    def __init__(
        self,
        num_frames: Sequence[int],
        clip_length: int,
        seed: int,
        clips_per_video: int = 1,
        *,
        jitter: float = JITTER,
    ):
        if not len(num_frames):
            raise ValueError("there are no videos to draw clips from")
        if min(num_frames) < 1:
            raise ValueError(f"video {int(np.argmin(num_frames))} has no frames")
        for name, value, least in (
            ("clip_length", clip_length, 1),
            ("clips_per_video", clips_per_video, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, found {value}")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter must be in [0, 1), found {jitter}")
        self.jitter = jitter
        self.num_frames = tuple(int(n) for n in num_frames)
        self.clip_length = clip_length
        self.seed = seed
        self.clips_per_video = clips_per_video
        self._order = functools.lru_cache(maxsize=4)(self._draw_order)

    @property
    def clips_per_epoch(self) -> int:
        """Length of an epoch in the stream."""
        return len(self.num_frames) * self.clips_per_video

    def __getitem__(self, position: int) -> Clip:
        """The clip at a position of the stream, counted from 0.

        Raises:
            IndexError: the position is negative.
        """
        if position < 0:
            raise IndexError(f"positions of the stream start at 0, asked for {position}")
        epoch, place = divmod(position, self.clips_per_epoch)
        copy, video = divmod(int(self._order(epoch)[place]), len(self.num_frames))
        return self.draw(epoch, video, copy)

    def draw(self, epoch: int, video: int, copy: int = 0) -> Clip:
        """The clip drawn at (seed, epoch, video, copy)."""
        rng = _generator(self.seed, _CLIP_STREAM, epoch, video, copy)
        frames = self.num_frames[video]
        start = int(rng.integers(max(frames - self.clip_length, 0) + 1))
        offset_y, offset_x = rng.random(2).tolist()
        flip = bool(rng.integers(2))
        factors = (
            np.round(rng.uniform(1 - self.jitter, 1 + self.jitter, size=3) * FACTOR_STEPS) / FACTOR_STEPS
        )
        augmentation = Augmentation(offset_y, offset_x, flip, *factors.tolist())
        return Clip(video, start, min(frames, self.clip_length), augmentation)

    def _draw_order(self, epoch: int) -> Int64[np.ndarray, "clips"]:
        return _generator(self.seed, _ORDER_STREAM, epoch).permutation(self.clips_per_epoch)


def evaluation_windows(
    videos: Sequence[Video], clip_length: int, split_on_jumps: bool = True
) -> Int64[np.ndarray, "W 3"]:
    """Cuts videos, in order, into windows of consecutive frames; every frame is in exactly one.

    A window ends when it is full, at the end of its video, and where frame numbers do not go up by one.
    The published lists of BP4D and DISFA have no such jumps; data prepared anew may.

    Args:
        videos: in the order in which they are evaluated.
        clip_length: frames of a full window.
        split_on_jumps: whether a jump of the frame numbers ends a window.

    Returns:
        One row a window: position of the video, first list entry, number of entries (1..clip_length).

    Raises:
        ValueError: `clip_length` is less than 1.
    """
    if clip_length < 1:
        raise ValueError(f"clip_length must be at least 1, found {clip_length}")
    windows = []
    for number, video in enumerate(videos):
        jumps = np.flatnonzero(np.diff(video.frame_numbers) != 1) + 1 if split_on_jumps else []
        borders = [0, *map(int, jumps), video.num_frames]
        for first, last in itertools.pairwise(borders):
            starts = range(first, last, clip_length)
            windows.extend((number, start, min(clip_length, last - start)) for start in starts)
    return np.asarray(windows, np.int64).reshape(-1, 3)
