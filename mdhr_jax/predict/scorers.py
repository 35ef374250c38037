"""Scores of many streams of aligned frames at once: streams stay apart, the model sees them in batches.

A stream is the frames of one face that follow each other without a gap. Frames are pushed as they come and
scores are taken as they become final, frame after frame within a stream; what waits in between is bounded.
"""

import collections
import dataclasses
from collections.abc import Hashable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from mdhr_jax.data import layout
from mdhr_jax.data.augment import resize_clips
from mdhr_jax.data.clips import decode_edge
from mdhr_jax.models.streaming import StreamingModel, StreamState, look_ahead
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

    def reset(self) -> None:
        """Forgets all streams."""
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
class _Stream:
    """A stream's bookkeeping.

    `real` frames reach the model, at most `behind` places behind the end after them; `shown` of the frames
    are asked for, fewer than `real` only where a picture stands alone.
    """

    name: Hashable
    row: int
    frames: collections.deque[AlignedImage]
    first: AlignedImage | None = None
    shown: int = 0
    real: int = 0
    behind: int = 0
    ended: bool = False
    taken: int = 0
    fresh: bool = True


class StreamScorer:
    """Each frame passes the backbone once; scores are those of the model on the whole stream.

    A stream of one frame, in which nothing can move, is scored as the first frame of a clip of such frames,
    as evaluation fills up short windows.

    Args:
        trained: the model.
        batch: frames that are computed at a time, of one stream or of several; with 1 every frame is computed
            when it comes. Others wait until so many have come.

    Raises:
        ValueError: `batch` is less than 1.
    """

    def __init__(self, trained: Trained, batch: int = 16):
        if batch < 1:
            raise ValueError(f"expected a batch of at least 1 frame, found {batch}")
        self._trained = trained
        self._batch = batch
        self._model = StreamingModel(trained.model)
        self._weights = jax.device_put((trained.params, trained.batch_stats))
        self._step = jax.jit(self._compute, donate_argnums=2)
        self._gather = jax.jit(lambda pool, rows: jax.tree.map(lambda array: array[rows], pool))
        self._scatter = jax.jit(_put_rows, donate_argnums=0)
        self._streams: dict[Hashable, _Stream] = {}
        # Those that were ended and still have something to compute.
        self._ending: list[_Stream] = []
        self._pool: StreamState | None = None
        self._free: list[int] = []
        self._computing: tuple[Any, list[tuple[_Stream, int, int]]] | None = None
        self._done: list[Scored] = []

    @property
    def look_ahead(self) -> int:
        """Frames after a frame that its scores depend on; others of the batch may be waited for besides."""
        return self._model.look_ahead

    @property
    def frames_a_batch(self) -> int:
        """Frames that are computed at a time."""
        return self._batch

    def push(self, stream: Hashable, image: AlignedImage) -> None:
        """Takes the next frame of a stream, which begins with its first.

        Args:
            stream: any name.
            image: an aligned face, RGB, square, at least as large as the model's input.
        """
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = _Stream(stream, self._new_row(), collections.deque())
        found.first = image if found.shown == 0 else None
        found.shown += 1
        found.real += 1
        found.frames.append(image)
        self._run(full=True)

    def end(self, stream: Hashable) -> None:
        """Says that a stream has no more frames; its last scores become computable."""
        found = self._streams.pop(stream, None)
        if found is None:
            return
        if found.first is not None and self._trained.model.config.uses_dynamics:
            more = self._trained.clip_length - 1
            found.frames.extend([found.first] * more)
            found.real += more
        found.first = None
        found.ended, found.behind = True, self._model.look_ahead
        self._ending.append(found)
        self._run(full=True)

    def take(self) -> list[Scored]:
        """Scores that are final and computed, those of a stream in order."""
        if self._batch == 1:
            self._collect()
        done, self._done = self._done, []
        return done

    def drain(self) -> list[Scored]:
        """Computes what has been pushed, and gives all scores that are final."""
        self._run(full=False)
        self._collect()
        return self.take()

    def reset(self) -> None:
        """Forgets all streams; what is compiled is kept."""
        self._streams, self._ending, self._computing, self._done = {}, [], None, []
        self._free = [] if self._pool is None else list(range(len(self._pool.position) - 1))[::-1]

    def _new_row(self) -> int:
        """A place in the pool of states; where there is none, it is made twice as large."""
        if not self._free:
            before = 0 if self._pool is None else len(self._pool.position) - 1
            # The last row belongs to places of a batch that are not used.
            grown = self._model.init(max(1, 2 * before) + 1, self._trained.image_size)
            if self._pool is not None:
                kept = jax.tree.map(lambda array: array[:before], self._pool)
                grown = self._scatter(grown, np.arange(before), kept)
            self._pool = grown
            self._free = list(range(before, len(grown.position) - 1))[::-1]
        return self._free.pop()

    def _pending(self) -> list[_Stream]:
        """Streams with something to compute, those that are ending first."""
        self._ending = [stream for stream in self._ending if stream.frames or stream.behind]
        return [*self._ending, *(stream for stream in self._streams.values() if stream.frames)]

    def _run(self, *, full: bool) -> None:
        """Computes batch after batch; with `full` only those that have no place free."""
        while pending := self._pending():
            if full and sum(len(stream.frames) + stream.behind for stream in pending) < self._batch:
                return
            rows = 1
            while rows < min(len(pending), self._batch):
                rows *= 2
            rows = min(rows, self._batch)
            self._compute_batch(pending[:rows], rows, max(1, self._batch // rows))

    def _compute_batch(self, streams: list[_Stream], rows: int, places: int) -> None:
        """Gives the model the next frames of some streams; fetches what it was given before."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("there are streams without states")
        edge = self._trained.recipe.size
        for stream in streams:
            if stream.frames:
                edge = stream.frames[0].shape[0]
                break
        images = np.zeros((rows, places, edge, edge, 3), np.uint8)
        real, behind = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
        fresh = np.zeros(rows, bool)
        states = np.full(rows, len(pool.position) - 1)
        given = []
        for i, stream in enumerate(streams):
            states[i], fresh[i], stream.fresh = stream.row, stream.fresh, False
            real[i] = min(len(stream.frames), places)
            for j in range(real[i]):
                images[i, j] = stream.frames.popleft()
            if not stream.frames:
                behind[i] = min(stream.behind, places - real[i])
                stream.behind -= int(behind[i])
            given.append((stream, stream.taken, int(real[i] + behind[i])))
            stream.taken += int(real[i] + behind[i])
        picked = self._gather(pool, states)
        picked, scores = self._step(*self._weights, picked, images, real, behind, fresh)
        self._pool = self._scatter(pool, states, picked)
        for stream in streams:
            if stream.ended and not stream.frames and not stream.behind:
                self._free.append(stream.row)
        # One batch behind: the device computes while the next frames are prepared.
        self._collect()
        self._computing = scores, given

    def _collect(self) -> None:
        if self._computing is None:
            return
        (scores, given), self._computing = self._computing, None
        values = np.asarray(scores, np.float32)
        ahead = self._model.look_ahead
        for i, (stream, first, count) in enumerate(given):
            for j in range(count):
                index = first + j - ahead
                if 0 <= index < stream.shown:
                    self._done.append(Scored(stream.name, index, values[i, j]))

    def _compute(
        self,
        params: Any,
        batch_stats: Any,
        state: StreamState,
        images: Any,
        real: Any,
        behind: Any,
        fresh: Any,
    ) -> tuple[StreamState, Array]:
        frames = as_input(images, self._trained)
        return self._model.step(params, batch_stats, state, frames, real, behind, fresh)


def _put_rows(pool: StreamState, rows: Any, values: StreamState) -> StreamState:
    return jax.tree.map(lambda array, new: array.at[rows].set(new), pool, values)


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

    def reset(self) -> None:
        """Forgets all streams; what is compiled is kept."""
        self._streams, self._ready, self._done = {}, [], []

    def _close(self, stream: Hashable, window: _Windows) -> None:
        self._ready.append((stream, window.first, window.frames))
        if len(self._ready) == self._batch:
            self._compute()

    def _compute(self) -> None:
        windows, self._ready = self._ready[: self._batch], self._ready[self._batch :]
        edge = windows[0][2][0].shape[0]
        images = np.zeros((self._batch, self._length, edge, edge, 3), np.uint8)
        for i, (_, _, frames) in enumerate(windows):
            images[i, : len(frames)] = frames
            images[i, len(frames) :] = frames[-1]
        scores = np.asarray(self._score(*self._weights, images), np.float32)
        for i, (stream, first, frames) in enumerate(windows):
            self._done += [Scored(stream, first + j, scores[i, j]) for j in range(len(frames))]


MODES = ("stream", "clips")
"""How frames are scored: each with its whole surroundings, or in the windows of evaluation."""


def make(trained: Trained, mode: str, batch: int | None = None) -> Scorer:
    """The scorer of a mode.

    Args:
        trained: the model.
        mode: one of `MODES`.
        batch: see `StreamScorer` (frames) and `ClipScorer` (windows); by default theirs.

    Raises:
        ValueError: the mode is unknown, or the batch too small.
    """
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is unknown; expected one of {', '.join(MODES)}")
    chosen = {} if batch is None else {"batch": batch}
    return StreamScorer(trained, **chosen) if mode == "stream" else ClipScorer(trained, **chosen)


def look_ahead_of(trained: Trained, mode: str) -> int:
    """Frames that scores wait for, see `Scorer.look_ahead`."""
    return look_ahead(trained.model.config) if mode == "stream" else trained.clip_length - 1
