"""The faces of a video's frames by track: searched for, or followed between searches."""

from mdhr_jax.faces.detector import Detector, Face, Follower, Frame
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.faces.tracking import Tracker

_SURE = 0.95
"""A followed face less sure than this is searched for at once."""


class FaceFinder:
    """Finds the faces of one video, frame after frame.

    Args:
        recipe: how often faces are searched for, and how long they may be out of sight.
        detector: one that can also `follow` faces is asked to search in every `detect_every`-th frame only.

    Attributes:
        tracker: which face is whose.
    """

    def __init__(self, recipe: AlignmentRecipe, detector: Detector):
        self._detect_every = recipe.detect_every
        self._detector = detector
        self._follower = detector if isinstance(detector, Follower) else None
        self.tracker = Tracker(recipe.max_gap)
        self._known: dict[int, Face] = {}
        self._since_search = 0

    def find(self, index: int, frame: Frame) -> tuple[dict[int, Face], bool]:
        """Faces by track, and whether they were searched for.

        Args:
            index: of the frame, one more than the last.
            frame: RGB.
        """
        due = self._since_search + 1 >= self._detect_every
        if self._follower is not None and self.tracker.subject in self._known and not due:
            followed = self._follower.follow(frame, list(self._known.values()))
            found = {
                number: face
                for number, face in zip(self._known, followed, strict=True)
                if face is not None and face.confidence >= _SURE
            }
            # A face that grew unsure, or two that ran into one, must be searched for.
            if len(found) == len(followed) and self.tracker.follow(index, found):
                self._known = found
                self._since_search += 1
                return found, False
        (faces,) = self._detector.detect([frame])
        found = self.tracker.update(index, faces)
        self._known, self._since_search = found, 0
        return found, True

    def forget(self) -> None:
        """Ends all tracks; faces are searched for in the next frame."""
        self.tracker.end_all()
        self._known = {}
