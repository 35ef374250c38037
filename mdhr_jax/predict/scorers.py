"""What scores streams of aligned frames, and the one that cuts them into the windows of evaluation.

A stream is the frames of one face that follow each other without a gap. Frames are pushed as they come and
scores are taken as they become final, frame after frame within a stream; what waits in between is bounded.
"""

import dataclasses
from collections.abc import Hashable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from mdhr_jax import freed_memory
from mdhr_jax.data import layout
from mdhr_jax.data.augment import resize_clips
from mdhr_jax.data.clips import decode_edge
from mdhr_jax.predict.checkpoint import Trained

AlignedImage = UInt8[np.ndarray, "L L 3"]


@dataclasses.dataclass(frozen=True)
class Scored:
    """Final scores of a frame.

    Attributes:
        stream: whose.
        index: of the frame in its stream, from 0.
        scores: of each AU, in [0, 1].
    """

    stream: Hashable
    index: int
    scores: Float32[np.ndarray, "N"]


@runtime_checkable
class Scorer(Protocol):
    """Scores streams."""

    @property
    def look_ahead(self) -> int:
        """Frames of a stream after a frame that its scores wait for, at most."""
        ...

    @property
    def frames_a_batch(self) -> int:
        """Frames that are computed at a time, and wait until so many have come."""
        ...

    def push(self, stream: Hashable, image: AlignedImage) -> None:
        """Takes the next frame of a stream, which begins with its first."""
        ...

    def end(self, stream: Hashable) -> None:
        """Says that a stream has no more frames; a name may begin another one afterwards."""
        ...

    def take(self) -> list[Scored]:
        """Scores that are there without waiting for more frames."""
        ...

    def drain(self) -> list[Scored]:
        """All scores that can be had without further frames."""
        ...

    def forget(self, stream: Hashable) -> None:
        """Drops a stream with all of its scores that were not taken, the ended ones of this name included."""
        ...


def reduced(images: UInt8[Array, "*batch L L 3"], image_size: int) -> UInt8[Array, "*batch l l 3"]:
    """Crops at the size at which training and evaluation decode those that are stored.

    Where half of the edge is enough for the model, stored pictures are decoded at half their size, each pixel
    the mean of four: a bilinear resize of the whole one would not give the same.
    """
    edge = images.shape[-2]
    if edge != layout.IMAGE_EDGE or decode_edge(image_size, crop_margin=0) == edge:
        return images
    half = edge // 2
    squares = images.reshape(*images.shape[:-3], half, 2, half, 2, 3).astype(jnp.int32)
    return ((squares.sum((-4, -2)) + 2) // 4).astype(jnp.uint8)


def as_input(images: UInt8[Array, "B T L L 3"], trained: Trained) -> Float[Array, "B T S S 3"]:
    """What evaluation gives the model, from crops."""
    dtype = jnp.dtype(trained.model.config.dtype)
    return resize_clips(reduced(images, trained.image_size), image_size=trained.image_size, dtype=dtype)


@dataclasses.dataclass
class _Windows:
    """A stream that is cut into windows; `first` is the index of the first frame of the one being filled."""

    frames: list[AlignedImage]
    first: int = 0


class ClipScorer:
    """Streams cut into clips as evaluation does: no frame sees beyond its window.

    A window ends when it is full and at the end of its stream; one that is too short is filled up with its
    last frame.

    Args:
        trained: the model.
        batch: windows that are computed at a time.

    Raises:
        ValueError: `batch` is less than 1.
    """

    def __init__(self, trained: Trained, batch: int = 8):
        if batch < 1:
            raise ValueError(f"expected a batch of at least 1 window, found {batch}")
        self._trained = trained
        self._batch = batch
        self._length = trained.clip_length
        self._weights = jax.device_put((trained.params, trained.batch_stats))
        self._score = jax.jit(
            lambda params, batch_stats, images: (
                trained.model.predict(params, batch_stats, as_input(images, trained)).scores
            )
        )
        self._streams: dict[Hashable, _Windows] = {}
        self._ready: list[tuple[Hashable, int, list[AlignedImage]]] = []
        self._done: list[Scored] = []

    @property
    def look_ahead(self) -> int:
        """Frames that the first frame of a window waits for; other windows may be waited for besides."""
        return self._length - 1

    @property
    def frames_a_batch(self) -> int:
        """Frames that are computed at a time."""
        return self._batch * self._length

    def push(self, stream: Hashable, image: AlignedImage) -> None:
        """Takes the next frame of a stream, which begins with its first.

        Args:
            stream: any name.
            image: an aligned face, RGB, square, at least as large as the model's input.
        """
        found = self._streams.setdefault(stream, _Windows([]))
        found.frames.append(image)
        if len(found.frames) == self._length:
            self._close(stream, found)
            found.first, found.frames = found.first + self._length, []

    def end(self, stream: Hashable) -> None:
        """Says that a stream has no more frames."""
        found = self._streams.pop(stream, None)
        if found is not None and found.frames:
            self._close(stream, found)

    def take(self) -> list[Scored]:
        """Scores that are there, those of a stream in order."""
        done, self._done = self._done, []
        return done

    def drain(self) -> list[Scored]:
        """Computes the windows that are whole or ended, and gives all scores that are final."""
        while self._ready:
            self._compute()
        return self.take()

    def forget(self, stream: Hashable) -> None:
        """Drops a stream with all of its scores that were not taken."""
        self._streams.pop(stream, None)
        self._ready = [window for window in self._ready if window[0] != stream]
        self._done = [one for one in self._done if one.stream != stream]

    def _close(self, stream: Hashable, window: _Windows) -> None:
        self._ready.append((stream, window.first, window.frames))
        if len(self._ready) >= self._batch:
            self._compute()

    def _compute(self) -> None:
        # Of one size; windows of others wait for their turn.
        edge = self._ready[0][2][0].shape[0]
        alike = [i for i, (_, _, frames) in enumerate(self._ready) if frames[0].shape[0] == edge]
        chosen = set(alike[: self._batch])
        windows = [window for i, window in enumerate(self._ready) if i in chosen]
        self._ready = [window for i, window in enumerate(self._ready) if i not in chosen]
        images = np.zeros((self._batch, self._length, edge, edge, 3), np.uint8)
        for i, (_, _, frames) in enumerate(windows):
            images[i, : len(frames)] = frames
            images[i, len(frames) :] = frames[-1]
        scores = np.asarray(self._score(*self._weights, images), np.float32)
        freed_memory.settle()
        for i, (stream, first, frames) in enumerate(windows):
            self._done += [Scored(stream, first + j, scores[i, j]) for j in range(len(frames))]
