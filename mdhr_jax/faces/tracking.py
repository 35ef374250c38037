"""Which face of a frame is which of the frame before, and whose video it is.

Each person keeps a number from the first frame in which they are seen to the last; a face that was out of
sight for longer than a gap is a new track. The subject is the largest face when nobody is followed, and stays
the subject for as long as its track goes on: somebody larger who walks into the picture does not take over.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from scipy.optimize import linear_sum_assignment

from mdhr_jax.faces.detector import Face

NEW_TRACK_CONFIDENCE = 0.9
"""A face that nobody was near must be at least this sure; one that continues a track need not be."""

_REACH = 0.6
"""A face further from where its track leads is another, in sides of its box; more for each frame missed."""

_REACH_A_FRAME = 0.1

_GROWTH = 1.6
"""A face larger or smaller than this factor is another."""

_TURN = 0.5
"""Weight of the newest step in a track's velocity."""

_SAME_FACE = 0.5
"""Two faces whose centres are nearer than this, in sides, are one; a detector may name a face twice."""


@dataclasses.dataclass
class Track:
    """One person through a video.

    Attributes:
        number: from 0, in order of appearance.
        face: where it was last seen.
        last_seen: index of that frame.
        velocity: of the box's centre, pixels a frame.
        seen: in how many frames.
    """

    number: int
    face: Face
    last_seen: int
    velocity: Float32[np.ndarray, "2"]
    seen: int = 1


class Tracker:
    """Gives each face of a video a number that stays.

    Args:
        max_gap: frames that a face may be out of sight before its track ends.
    """

    def __init__(self, max_gap: int):
        self.max_gap = max_gap
        self.tracks: dict[int, Track] = {}
        self.subject: int | None = None
        self._next = 0

    def update(self, index: int, faces: Sequence[Face]) -> dict[int, Face]:
        """Takes the faces of a frame in which they were searched for.

        Args:
            index: of the frame, larger than the last.
            faces: those found.

        Returns:
            Faces by track; those that neither continue a track nor are sure enough to begin one are left out.
        """
        self.end_lost(index)
        faces = _distinct(faces)
        found = self._continue(index, faces)
        taken = {id(face) for face in found.values()}
        for face in faces:
            if id(face) not in taken and face.confidence >= NEW_TRACK_CONFIDENCE:
                found[self._next] = face
                self.tracks[self._next] = Track(self._next, face, index, np.zeros(2, np.float32))
                self._next += 1
        if self.subject is None and found:
            self.subject = max(found, key=lambda number: found[number].side)
        return found

    def follow(self, index: int, faces: Mapping[int, Face]) -> bool:
        """Takes faces of a frame that were found where their tracks lead.

        Args:
            index: of the frame, larger than the last.
            faces: by track.

        Returns:
            Whether all is well; if a face is where its track cannot be, or two are one now, nothing changes.
        """
        near = all(_distance(self.tracks[number], face, index) < 1.0 for number, face in faces.items())
        if not near or len(_distinct(list(faces.values()))) < len(faces):
            return False
        for number, face in faces.items():
            self._move(self.tracks[number], face, index)
        return True

    def end_lost(self, index: int) -> None:
        """Ends the tracks that were out of sight for too long before the frame of that index."""
        for number in [n for n, t in self.tracks.items() if index - t.last_seen > self.max_gap + 1]:
            del self.tracks[number]
        if self.subject not in self.tracks:
            self.subject = None

    def end_all(self) -> None:
        """Ends all tracks: what is seen from now on has nothing to do with them."""
        self.tracks.clear()
        self.subject = None

    def _continue(self, index: int, faces: Sequence[Face]) -> dict[int, Face]:
        tracks = list(self.tracks.values())
        if not tracks or not faces:
            return {}
        costs = np.asarray([[_distance(track, face, index) for face in faces] for track in tracks])
        allowed = costs < 1.0
        found = {}
        # Pairs out of reach cost more than all pairs within it: as many tracks as possible go on.
        rows, columns = linear_sum_assignment(np.where(allowed, costs, 1e3))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if allowed[row, column]:
                track, face = tracks[row], faces[column]
                self._move(track, face, index)
                found[track.number] = face
        return found

    def _move(self, track: Track, face: Face, index: int) -> None:
        step = (face.centre - track.face.centre) / (index - track.last_seen)
        velocity = _TURN * step + (1.0 - _TURN) * track.velocity
        track.velocity = velocity.astype(np.float32)
        track.face, track.last_seen, track.seen = face, index, track.seen + 1


def _distance(track: Track, face: Face, index: int) -> float:
    """How far a face is from where a track leads, in units of what is allowed."""
    since = index - track.last_seen
    side = max(track.face.side, 1e-6)
    growth = face.side / side
    if not 1 / _GROWTH < growth < _GROWTH:
        return np.inf
    expected = track.face.centre + track.velocity * since
    away = float(np.hypot(*(face.centre - expected))) / side
    return away / (_REACH + _REACH_A_FRAME * (since - 1))


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """The faces without those that a surer one covers."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(
            np.hypot(*(face.centre - other.centre)) > _SAME_FACE * max(face.side, other.side)
            for other in kept
        ):
            kept.append(face)
    return kept
