"""Everybody's face in a video, one crop a person and frame: for predictions, in order and in bounded memory.

Unlike `mdhr_jax.faces.aligner`, which prepares the one subject of a recording, nothing is interpolated: a
frame in which a person's face was not measured has no crop of it. The frames in a row in which it was are a
run; smoothing never looks beyond one. At a cut all runs end, and everybody is somebody new.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, Float32, UInt8

from mdhr_jax.faces.alignment import similarity, warp
from mdhr_jax.faces.cuts import CutFinder
from mdhr_jax.faces.detector import Detector, Face, Frame
from mdhr_jax.faces.finder import FaceFinder
from mdhr_jax.faces.recipe import AlignmentRecipe


@dataclasses.dataclass(frozen=True)
class PersonsFace:
    """One person's face in one frame.

    Attributes:
        track: the person's number, from 0 in order of appearance. Who comes back after at most
            `AlignmentRecipe.max_gap` frames keeps it, unless there was a cut.
        run: number of the run, over all persons; another after every gap and cut.
        image: the crop, RGB.
        box: x0, y0, x1, y1 in the frame's pixels.
        matrix: from the frame to the crop, see `mdhr_jax.faces.alignment.Matrix`.
        confidence: of the detector, 0 to 1.
    """

    track: int
    run: int
    image: UInt8[np.ndarray, "S S 3"]
    box: Float32[np.ndarray, "4"]
    matrix: Float[np.ndarray, "2 3"]
    confidence: float


@dataclasses.dataclass(frozen=True)
class PeopleFrame:
    """The faces of a frame.

    Attributes:
        index: of the frame, from 0.
        faces: by track; none where nobody was seen.
    """

    index: int
    faces: tuple[PersonsFace, ...]


class _Run:
    """Crops of one person's frames in a row, each as soon as smoothing has seen enough."""

    def __init__(self, number: int, track: int, recipe: AlignmentRecipe):
        self.number, self.track = number, track
        self._recipe, self._filter = recipe, recipe.filter
        # Frames that smoothing looks back to, then those that wait.
        self._seen: collections.deque[tuple[int, Frame | None, Face]] = collections.deque()
        self._waiting = 0

    @property
    def first_waiting(self) -> int | None:
        """Index of the first frame without a crop."""
        return self._seen[-self._waiting][0] if self._waiting else None

    def push(self, index: int, frame: Frame, face: Face) -> Iterator[tuple[int, PersonsFace]]:
        """Takes the next frame; gives the crops that became final."""
        self._seen.append((index, frame, face))
        self._waiting += 1
        while self._waiting > self._filter.look_ahead:
            yield self._cut()

    def end(self) -> Iterator[tuple[int, PersonsFace]]:
        """The crops that still wait; the person is not in the next frame."""
        while self._waiting:
            yield self._cut()

    def _cut(self) -> tuple[int, PersonsFace]:
        place = len(self._seen) - self._waiting
        index, frame, face = self._seen[place]
        points = self._filter.at(np.stack([face.points for *_, face in self._seen]), place)
        recipe = self._recipe
        matrix = similarity(
            points, recipe.size, eye_height=recipe.eye_height, eye_distance=recipe.eye_distance
        )
        if frame is None:
            raise RuntimeError(f"frame {index} was given away before its crop was made")
        image = warp(frame, matrix, recipe.size)
        self._seen[place] = index, None, face
        self._waiting -= 1
        while len(self._seen) - self._waiting > self._filter.reach:
            self._seen.popleft()
        return index, PersonsFace(self.track, self.number, image, face.box, matrix, face.confidence)


class PeopleAligner:
    """Aligns everybody in one video.

    Args:
        recipe: how faces are found and cut out; of `max_gap` only how long a person's number is kept.
        detector: that finds them.
    """

    def __init__(self, recipe: AlignmentRecipe, detector: Detector):
        self._recipe = recipe
        self._finder = FaceFinder(recipe, detector)
        self._cuts = CutFinder()
        self._runs: dict[int, _Run] = {}
        self._next_run = 0
        self._next = 0
        # Faces of the frames that are not complete, by index.
        self._waiting: dict[int, list[PersonsFace]] = {}

    @property
    def look_ahead(self) -> int:
        """Frames after a frame that must be seen before its faces are final, at most."""
        return self._recipe.filter.look_ahead

    def push(self, frame: Frame) -> list[PeopleFrame]:
        """Takes the next frame; returns those that became final, in order."""
        index, self._next = self._next, self._next + 1
        self._waiting[index] = []
        if self._cuts.is_cut(frame):
            self._finder.forget()
            self._end_runs()
        found, _ = self._finder.find(index, frame)
        for track in [track for track in self._runs if track not in found]:
            self._take(self._runs.pop(track).end())
        for track, face in found.items():
            if track not in self._runs:
                self._runs[track] = _Run(self._next_run, track, self._recipe)
                self._next_run += 1
            self._take(self._runs[track].push(index, frame, face))
        return self._finish()

    def flush(self) -> list[PeopleFrame]:
        """The frames that still wait; the video has ended."""
        self._end_runs()
        return self._finish()

    def _end_runs(self) -> None:
        for run in self._runs.values():
            self._take(run.end())
        self._runs.clear()

    def _take(self, crops: Iterator[tuple[int, PersonsFace]]) -> None:
        for index, face in crops:
            self._waiting[index].append(face)

    def _finish(self) -> list[PeopleFrame]:
        open_from = [run.first_waiting for run in self._runs.values()]
        first_open = min((index for index in open_from if index is not None), default=self._next)
        done = []
        for index in [index for index in self._waiting if index < first_open]:
            faces = sorted(self._waiting.pop(index), key=lambda face: face.track)
            done.append(PeopleFrame(index, tuple(faces)))
        return done


def align_people(
    frames: Iterable[Frame], recipe: AlignmentRecipe, detector: Detector
) -> Iterator[PeopleFrame]:
    """Aligns everybody in a video: one result a frame, in order.

    Args:
        frames: RGB pictures in order.
        recipe: how faces are found and cut out.
        detector: that finds them.
    """
    aligner = PeopleAligner(recipe, detector)
    for frame in frames:
        yield from aligner.push(frame)
    yield from aligner.flush()
