"""Frames in, aligned frames out: one at a time, in order, in bounded memory.

A frame waits until its crop is final: until the frames that smoothing looks ahead to were seen and,
where the face is lost, until it is back or has been away for longer than `AlignmentRecipe.max_gap`.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float, UInt8

from mdhr_jax.faces.alignment import similarity, warp
from mdhr_jax.faces.detector import Detector, Face, Frame
from mdhr_jax.faces.finder import FaceFinder
from mdhr_jax.faces.recipe import AlignmentRecipe

DETECTED, TRACKED, INTERPOLATED, NO_FACE = "detected", "tracked", "interpolated", "no face"
STATUSES = (DETECTED, TRACKED, INTERPOLATED, NO_FACE)

COMPARABLE = 0.4
"""Another face counts from this size on, in sides of the subject's: smaller ones are people in the
background, pictures on a wall and mistakes of the detector, and never become the subject beside it."""

Points = Float[np.ndarray, "5 2"]


@dataclasses.dataclass(frozen=True)
class AlignedFrame:
    """A frame and the subject's face in it.

    Attributes:
        index: of the frame, from 0.
        image: the crop; None where there is none.
        points: that the crop was made by, smoothed or interpolated, in the frame's pixels; NaN where there
            is no crop.
        raw_points: as measured; NaN where not measured.
        matrix: from the frame to the crop, see `mdhr_jax.faces.alignment.Matrix`; None without a crop.
        status: one of `STATUSES`.
        confidence: of the detector; NaN where the face was not measured.
        other_faces: how many other faces of a comparable size were in the frame, see `COMPARABLE`; all faces
            where the subject's is lost.
        track: number of the subject's track; -1 where no face was measured or interpolated.
    """

    index: int
    image: UInt8[np.ndarray, "S S 3"] | None
    points: Points
    raw_points: Points
    matrix: Float[np.ndarray, "2 3"] | None
    status: str
    confidence: float
    other_faces: int
    track: int = -1


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What was found in a frame, before smoothing."""

    index: int
    frame: Frame | None
    face: Face | None
    track: int
    status: str
    others: int


class VideoAligner:
    """Aligns the subject of one video.

    Args:
        recipe: how faces are cut out.
        detector: one that can also `follow` faces is asked to search in every `detect_every`-th frame only.
    """

    def __init__(self, recipe: AlignmentRecipe, detector: Detector):
        self.recipe = recipe
        self._finder = FaceFinder(recipe, detector)
        self._filter = recipe.filter
        self._next = 0
        self._waiting: collections.deque[_Seen] = collections.deque()
        # Measured frames before the first that waits, as far as smoothing looks back.
        self._past: collections.deque[_Seen] = collections.deque(maxlen=max(self._filter.reach, 1))
        self._last: tuple[_Seen, Points] | None = None

    @property
    def held(self) -> int:
        """Frames that wait, at most `AlignmentRecipe.look_ahead` after each `push`."""
        return len(self._waiting)

    def push(self, frame: Frame) -> list[AlignedFrame]:
        """Takes the next frame; returns those that became final, in order."""
        self._waiting.append(self._see(frame))
        self._next += 1
        return self._finish(end=False)

    def flush(self) -> list[AlignedFrame]:
        """The frames that still wait; the video has ended."""
        return self._finish(end=True)

    def _see(self, frame: Frame) -> _Seen:
        """Finds the faces of a frame and the subject among them."""
        index = self._next
        found, searched = self._finder.find(index, frame)
        subject = self._finder.tracker.subject
        face = found.get(subject) if subject is not None else None
        if face is None or subject is None:
            return _Seen(index, frame, None, -1, NO_FACE, len(found))
        others = sum(
            number != subject and other.side >= COMPARABLE * face.side for number, other in found.items()
        )
        return _Seen(index, frame, face, subject, DETECTED if searched else TRACKED, others)

    def _finish(self, *, end: bool) -> list[AlignedFrame]:
        done = []
        while self._waiting:
            seen = self._waiting[0]
            if seen.face is not None:
                points = self._smoothed(0, end)
                if points is None:
                    break
                done.append(self._cut(seen, points, seen.status, seen.track))
                self._last = seen, points
            else:
                gap = self._bridged(end)
                if gap is None:
                    break
                track, between = gap
                for points in between:
                    seen = self._waiting[0]
                    status = NO_FACE if points is None else INTERPOLATED
                    done.append(self._cut(seen, points, status, track))
                    self._retire()
                continue
            self._retire()
        return done

    def _retire(self) -> None:
        """Keeps of the first frame that waits only what smoothing needs."""
        self._past.append(dataclasses.replace(self._waiting.popleft(), frame=None))

    def _smoothed(self, place: int, end: bool) -> Points | None:
        """Smoothed points of the measured frame at a place of those that wait; None if it is too early."""
        seen = [*self._past, *self._waiting]
        middle = len(self._past) + place
        track = seen[middle].track
        first = last = middle
        while first > 0 and middle - first < self._filter.reach and _goes_on(seen[first - 1], track):
            first -= 1
        while last + 1 < len(seen) and last - middle < self._filter.look_ahead:
            if not _goes_on(seen[last + 1], track):
                end = True
                break
            last += 1
        if last - middle < self._filter.look_ahead and not end:
            return None
        run = [one.face.points for one in seen[first : last + 1] if one.face is not None]
        return self._filter.at(np.stack(run), middle - first)

    def _bridged(self, end: bool) -> tuple[int, list[Points | None]] | None:
        """The track and the points of the frames without a face that wait first; None if it is too early.

        Points are None where the gap is too long, or not between two frames of one track.
        """
        length = 0
        while length < len(self._waiting) and self._waiting[length].face is None:
            length += 1
        before = self._last
        open_since = before is not None and before[0].index == self._waiting[0].index - 1
        if before is None or not open_since or length > self.recipe.max_gap:
            # Once too long, a gap need not be seen to its end; the rest of it has no frame before it.
            return -1, [None] * length
        if length == len(self._waiting):
            return (-1, [None] * length) if end else None
        if self._waiting[length].track != before[0].track:
            return -1, [None] * length
        after = self._smoothed(length, end)
        if after is None:
            return None
        shares = [(i + 1) / (length + 1) for i in range(length)]
        return before[0].track, [before[1] + share * (after - before[1]) for share in shares]

    def _cut(self, seen: _Seen, points: Points | None, status: str, track: int) -> AlignedFrame:
        nothing = np.full((5, 2), np.nan, np.float32)
        raw = nothing if seen.face is None else seen.face.points
        confidence = float("nan") if seen.face is None else seen.face.confidence
        if points is None:
            return AlignedFrame(seen.index, None, nothing, raw, None, status, confidence, seen.others)
        points = points.astype(np.float32)
        recipe = self.recipe
        matrix = similarity(
            points, recipe.size, eye_height=recipe.eye_height, eye_distance=recipe.eye_distance
        )
        image = None if seen.frame is None else warp(seen.frame, matrix, recipe.size)
        return AlignedFrame(seen.index, image, points, raw, matrix, status, confidence, seen.others, track)


def align_video(
    frames: Iterable[Frame], recipe: AlignmentRecipe, detector: Detector
) -> Iterator[AlignedFrame]:
    """Aligns the subject of a video: one result a frame, in order.

    Args:
        frames: RGB pictures in order.
        recipe: how faces are cut out.
        detector: that finds them.
    """
    aligner = VideoAligner(recipe, detector)
    for frame in frames:
        yield from aligner.push(frame)
    yield from aligner.flush()


def _goes_on(seen: _Seen, track: int) -> bool:
    return seen.face is not None and seen.track == track
