"""Scores of many streams of aligned frames at once: streams stay apart, the model sees them in batches."""

import collections
import dataclasses
from collections.abc import Hashable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from mdhr_jax import freed_memory
from mdhr_jax.models.streaming import StreamingModel, StreamState
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.scorers import AlignedImage, Scored, as_input


@dataclasses.dataclass(eq=False)
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
    as evaluation fills up short windows; as many of them are computed as the first one's scores depend on.

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
        more = 0
        if found.first is not None and self._trained.model.config.uses_dynamics:
            more = min(self._trained.clip_length - 1, self._model.look_ahead)
            found.frames.extend([found.first] * more)
            found.real += more
        found.first = None
        found.ended, found.behind = True, self._model.look_ahead - more
        if found.frames or found.behind:
            self._ending.append(found)
        else:
            self._free.append(found.row)
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

    def forget(self, stream: Hashable) -> None:
        """Drops a stream with all of its scores that were not taken, the ended ones of this name included."""
        unfinished = [one for one in self._pending() if one.name == stream]
        current = self._streams.pop(stream, None)
        if current is not None and not current.frames:
            unfinished.append(current)
        self._free += [one.row for one in unfinished]
        self._ending = [one for one in self._ending if one.name != stream]
        self._done = [one for one in self._done if one.stream != stream]
        for one, _, _ in self._computing[1] if self._computing else ():
            if one.name == stream:
                one.shown = 0

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
            # Pictures of a batch have one size; streams of others wait for their turn.
            edges = [stream.frames[0].shape[0] if stream.frames else None for stream in pending]
            edge = next((edge for edge in edges if edge is not None), self._trained.recipe.size)
            alike = [one for one, its in zip(pending, edges, strict=True) if its in (None, edge)]
            rows = 1
            while rows < min(len(alike), self._batch):
                rows *= 2
            rows = min(rows, self._batch)
            self._compute_batch(alike[:rows], rows, max(1, self._batch // rows), edge)

    def _compute_batch(self, streams: list[_Stream], rows: int, places: int, edge: int) -> None:
        """Gives the model the next frames of some streams; fetches what it was given before."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("there are streams without states")
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
        freed_memory.settle()
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
