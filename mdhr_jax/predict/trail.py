"""Where everybody's face is in a recording, frame after frame, kept in a file without a name meanwhile.

Scores come later than the frames that they are of. What shows both reads the recording a second time, and
takes from here where the faces were: memory stays the same however long the recording is.
"""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from mdhr_jax.faces.people import PeopleFrame

_COUNT = np.dtype("<i4")
_FACE = np.dtype(
    [
        ("face_id", "<i4"),
        ("run", "<i4"),
        ("box", "<f4", (4,)),
        ("matrix", "<f8", (2, 3)),
        ("confidence", "<f4"),
    ]
)


@dataclasses.dataclass(frozen=True)
class Spot:
    """A face's place in a frame.

    Attributes:
        face_id: the person's number, from 0.
        run: which frames in a row it belongs to.
        box: x0, y0, x1, y1 in the frame's pixels.
        matrix: from the frame to the aligned face, see `mdhr_jax.faces.alignment.Matrix`.
    """

    face_id: int
    run: int
    box: Float32[np.ndarray, "4"]
    matrix: Float[np.ndarray, "2 3"]


class Trail:
    """Takes the faces of a recording's frames, and gives them again as often as one likes.

    Args:
        folder: on whose disk they are kept; nothing of them is left there.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path):
        # Closed when nobody asks any more; the system frees it with the process at the latest.
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.frames = 0

    def __del__(self):
        if hasattr(self, "_file"):
            self._file.close()

    def add(self, frame: PeopleFrame) -> None:
        """Takes the faces of the next frame."""
        found = np.empty(len(frame.faces), _FACE)
        for i, face in enumerate(frame.faces):
            found[i] = (face.track, face.run, face.box, face.matrix, face.confidence)
        self._file.write(np.asarray(len(found), _COUNT).tobytes() + found.tobytes())
        self.frames += 1

    def __iter__(self) -> Iterator[tuple[Spot, ...]]:
        """The faces of each frame, in order; ask for one reading at a time."""
        self._file.seek(0, os.SEEK_SET)
        for _ in range(self.frames):
            count = int(np.frombuffer(self._file.read(_COUNT.itemsize), _COUNT)[0])
            found = np.frombuffer(self._file.read(count * _FACE.itemsize), _FACE)
            yield tuple(
                Spot(int(one["face_id"]), int(one["run"]), one["box"].copy(), one["matrix"].copy())
                for one in found
            )
