"""From frames with faces in them to rows of a table: in order, each as soon as its scores are final."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mdhr_jax.predict.scorers import Scored, Scorer

_MOST_BATCHES = 4
"""Frames in which nobody is seen wait for those before them, whose batch nothing fills up, for as long as so
many batches take, and no longer."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A face in a frame, or a frame without one.

    Attributes:
        frame: its number, from 1.
        face_id: the person's number, from 0; None where there is no face.
        timestamp: seconds from the first frame; None where that is not known.
        confidence: of the detector, 0 to 1; None where it did not look or there is no face.
        scores: of each AU, in [0, 1]; None where there is no face.
        present: whether each AU's score reaches its threshold; None where there is no face.
    """

    frame: int
    face_id: int | None
    timestamp: float | None
    confidence: float | None
    scores: Float32[np.ndarray, "N"] | None
    present: Bool[np.ndarray, "N"] | None

    @property
    def success(self) -> bool:
        """Whether there is a face."""
        return self.scores is not None


@dataclasses.dataclass(frozen=True)
class FaceInFrame:
    """A face that is to be scored.

    Attributes:
        face_id: the person's number, from 0.
        run: which frames in a row it belongs to; no other run of the rows has this number.
        image: the aligned face, see `Scorer.push`.
        confidence: of the detector, 0 to 1; None where it did not look.
    """

    face_id: int
    run: int
    image: UInt8[np.ndarray, "L L 3"]
    confidence: float | None


@dataclasses.dataclass
class _Waiting:
    """A frame and the scores of its faces as far as they are known."""

    frame: int
    timestamp: float | None
    faces: list[tuple[int, float | None]]
    scores: list[Any]
    missing: int


class RowMaker:
    """Scores the faces of one recording.

    Args:
        scorer: to which the names of streams are this recording's alone, see `mdhr_jax.predict.sharing`.
        au_names: of the scores.
        thresholds: what a score must reach for present, by AU name; compared in float32.
    """

    def __init__(self, scorer: Scorer, au_names: Sequence[str], thresholds: Mapping[str, float]):
        self._scorer = scorer
        self._limits = np.asarray([thresholds[name] for name in au_names], np.float32)
        self._most_waiting = _MOST_BATCHES * scorer.frames_a_batch + 2 * scorer.look_ahead
        self._next = 0
        self._waiting: collections.deque[_Waiting] = collections.deque()
        # Faces of each run without scores: their frame, and which of its faces it is.
        self._unscored: dict[Any, collections.deque[tuple[_Waiting, int]]] = {}
        self._open: set[int] = set()
        self._shape: tuple[int, ...] | None = None

    def add(self, timestamp: float | None, faces: Sequence[FaceInFrame]) -> list[Row]:
        """Takes the next frame; returns the rows that became final, in order.

        Runs that have no face in the frame have ended.

        Args:
            timestamp: of the frame, seconds.
            faces: in it.

        Raises:
            ValueError: an aligned face has another size than those before, or scores are not finite.
        """
        for face in faces:
            self._shape = self._shape or face.image.shape
            if face.image.shape != self._shape:
                raise ValueError(
                    f"aligned faces of one recording have one size, found {face.image.shape} after "
                    f"{self._shape}"
                )
        self._next += 1
        for run in sorted(self._open - {face.run for face in faces}):
            self._end(run)
        known = [(face.face_id, face.confidence) for face in faces]
        frame = _Waiting(self._next, timestamp, known, [None] * len(faces), len(faces))
        self._waiting.append(frame)
        for place, face in enumerate(faces):
            self._open.add(face.run)
            self._unscored.setdefault(face.run, collections.deque()).append((frame, place))
            self._scorer.push(face.run, face.image)
        self._fill(self._scorer.take())
        if len(self._waiting) > self._most_waiting and self._waiting[0].missing:
            self._fill(self._scorer.drain())
        return self._final()

    @property
    def waits(self) -> bool:
        """Whether there are frames without rows yet."""
        return bool(self._waiting)

    def end(self) -> list[Row]:
        """Says that the recording has ended; returns the rows that became final.

        Raises:
            ValueError: scores are not finite.
        """
        for run in sorted(self._open):
            self._end(run)
        return self.poll()

    def poll(self) -> list[Row]:
        """The rows that became final because other recordings filled a batch.

        Raises:
            ValueError: scores are not finite.
        """
        self._fill(self._scorer.take())
        return self._final()

    def finish(self) -> list[Row]:
        """The rows that still wait; the recording has ended.

        Raises:
            ValueError: scores are not finite.
        """
        for run in sorted(self._open):
            self._end(run)
        self._fill(self._scorer.drain())
        rows = self._final()
        if self._waiting:
            raise RuntimeError(f"{len(self._waiting)} frames from {self._waiting[0].frame} on got no scores")
        return rows

    def forget(self) -> None:
        """Gives the recording up: what is left of it in the scorer is dropped."""
        for run in sorted(self._open | self._unscored.keys()):
            self._scorer.forget(run)
        self._open, self._unscored = set(), {}
        self._waiting.clear()

    def _end(self, run: int) -> None:
        self._open.discard(run)
        if not self._unscored[run]:
            del self._unscored[run]
        self._scorer.end(run)

    def _fill(self, scored: Sequence[Scored]) -> None:
        for one in scored:
            unscored = self._unscored[one.stream]
            frame, place = unscored.popleft()
            frame.scores[place] = one.scores
            frame.missing -= 1
            if not unscored and one.stream not in self._open:
                del self._unscored[one.stream]

    def _final(self) -> list[Row]:
        rows = []
        while self._waiting and not self._waiting[0].missing:
            frame = self._waiting.popleft()
            if not frame.faces:
                rows.append(Row(frame.frame, None, frame.timestamp, None, None, None))
            for (face_id, confidence), scores in zip(frame.faces, frame.scores, strict=True):
                if not np.isfinite(scores).all():
                    found = ", ".join(f"{score:g}" for score in scores)
                    raise ValueError(
                        f"frame {frame.frame}: scores are not finite ({found}); the checkpoint's weights are "
                        "broken, or its number format is too small for them"
                    )
                present = scores >= self._limits
                rows.append(Row(frame.frame, face_id, frame.timestamp, confidence, scores, present))
        return rows
