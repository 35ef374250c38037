"""Faces that are known without looking, for tests without a detector's networks."""

import numpy as np

from mdhr_jax.faces.detector import Face

FACE = np.asarray([(-20, -12), (20, -12), (0, 8), (-14, 28), (14, 28)], np.float32)
"""The five points of a face seen from the front, around its centre, pixels."""

BLANK = np.zeros((8, 8, 3), np.uint8)


def face(
    x: float = 100.0, y: float = 100.0, scale: float = 1.0, confidence: float = 0.99, turn: float = 0.0
) -> Face:
    """A face with its centre at a place, turned by radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    points = scale * FACE @ np.asarray([[cos, sin], [-sin, cos]]) + (x, y)
    box = np.asarray([x - 40 * scale, y - 45 * scale, x + 40 * scale, y + 45 * scale])
    return Face(box.astype(np.float32), points.astype(np.float32), confidence)


class Known:
    """A detector that knows the faces of each frame."""

    name, version = "known", "1"

    def __init__(self, faces):
        self.faces = list(faces)
        self.searched = []
        self.next = 0

    def detect(self, frames):
        found = []
        for _ in frames:
            self.searched.append(self.next)
            found.append(list(self.faces[self.next]))
            self.next += 1
        return found


class KnownFollower(Known):
    """One that can follow: the nearest face of the next frame, if it is near."""

    def __init__(self, faces):
        super().__init__(faces)
        self.followed = []

    def follow(self, frame, faces):
        now = self.faces[self.next]
        found = []
        for old in faces:
            near = [new for new in now if np.hypot(*(new.centre - old.centre)) < 30]
            found.append(near[0] if near else None)
        if all(one is not None and one.confidence > 0.95 for one in found):
            self.followed.append(self.next)
            self.next += 1
        return found
