"""How the face of each frame of a video was found and cut out; kept in the video's archive.

alignment.csv     a row a frame of the recording that was asked for, also those without a face
provenance.json   recipe, digest of what the frames were made from, how labels were made, notes
"""

import csv
import dataclasses
import io
import json
import re
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from mdhr_jax.faces.detector import POINTS

ALIGNMENT_FILE = "alignment.csv"
PROVENANCE_FILE = "provenance.json"

_HEADER = (
    "frame",
    "status",
    "track",
    "confidence",
    "other_faces",
    *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
    *(f"m{row}{column}" for row in range(2) for column in range(3)),
)


_TOLD_BY_OTHER_FACES = re.compile(r"another face is in view in \d+ frames")
"""What archives of earlier versions also hold as a note, word for word."""


@dataclasses.dataclass(frozen=True)
class AlignmentRecord:
    """How the faces of a video were found.

    Attributes:
        frame_numbers: of all frames asked for, ascending.
        status: of each frame: ``detected``, ``tracked``, ``interpolated``, ``as is`` (not looked for), or
            why there is no crop.
        track: number of the subject's track; another number where the face was lost and is followed anew, and
            from the next `TRACKS_A_RUN` on after each jump of the frame numbers; -1 where there is no crop or
            the face was not looked for.
        confidence: of the detector; NaN where it did not look or found nothing.
        other_faces: how many other faces were in the frame, see `mdhr_jax.faces.aligner.AlignedFrame`.
        points: measured places of `POINTS` in the recording's frame, pixels; NaN where not measured.
        matrices: from the frame's to the crop's coordinates, pixels; NaN where there is no crop.
        provenance: see `PROVENANCE_FILE`.
    """

    frame_numbers: Int32[np.ndarray, "F"]
    status: tuple[str, ...]
    track: Int32[np.ndarray, "F"]
    confidence: Float32[np.ndarray, "F"]
    other_faces: Int32[np.ndarray, "F"]
    points: Float32[np.ndarray, "F 5 2"]
    matrices: Float32[np.ndarray, "F 2 3"]
    provenance: dict[str, Any]

    @property
    def cropped(self) -> tuple[bool, ...]:
        """Whether each frame has a crop."""
        return tuple(status in CROPPED for status in self.status)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the labels and about the faces of the video.

        Not that there are other faces, which `other_faces` says frame by frame.
        """
        faces = [note for note in self.provenance["notes"] if not _TOLD_BY_OTHER_FACES.fullmatch(note)]
        return (*self.provenance["label_notes"], *faces)

    def dropped(self) -> dict[str, list[int]]:
        """Numbers of the frames without a crop, by reason."""
        reasons: dict[str, list[int]] = {}
        for number, status in zip(self.frame_numbers.tolist(), self.status, strict=True):
            if status not in CROPPED:
                reasons.setdefault(status, []).append(number)
        return reasons

    def to_files(self) -> list[tuple[str, bytes]]:
        """The two files."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        numbers = np.concatenate(
            [self.points.reshape(-1, 10), self.matrices.reshape(-1, 6)], axis=1, dtype=np.float64
        )
        for i, status in enumerate(self.status):
            cells = [self.track[i], _cell(self.confidence[i], 4), self.other_faces[i]]
            cells += [_cell(value, 3) for value in numbers[i, :10]] + [_cell(v, 6) for v in numbers[i, 10:]]
            writer.writerow([self.frame_numbers[i], status, *cells])
        provenance = json.dumps(self.provenance, indent=1, sort_keys=True) + "\n"
        return [(ALIGNMENT_FILE, text.getvalue().encode()), (PROVENANCE_FILE, provenance.encode())]


TRACKS_A_RUN = 10_000
"""Room for the tracks between two jumps of the frame numbers."""

CROPPED = ("detected", "tracked", "interpolated", "as is")
"""Values of the status of frames that have a crop."""


def parse(alignment: bytes, provenance: bytes, where: str) -> AlignmentRecord:
    """Reads the two files of a video.

    Args:
        alignment: content of `ALIGNMENT_FILE`.
        provenance: content of `PROVENANCE_FILE`.
        where: name of the video's archive, for messages.

    Raises:
        ValueError: they cannot be read.
    """
    try:
        rows = list(csv.reader(io.StringIO(alignment.decode(), newline="")))
        if tuple(rows[0]) != _HEADER:
            raise ValueError(f"its columns are {','.join(rows[0])}")
        body = rows[1:]
        values = np.array([[float(cell or "nan") for cell in row[5:]] for row in body], np.float32)
        values = values.reshape(-1, len(_HEADER) - 5)
        return AlignmentRecord(
            frame_numbers=np.array([int(row[0]) for row in body], np.int32),
            status=tuple(row[1] for row in body),
            track=np.array([int(row[2]) for row in body], np.int32),
            confidence=np.array([float(row[3] or "nan") for row in body], np.float32),
            other_faces=np.array([int(row[4]) for row in body], np.int32),
            points=values[:, :10].reshape(-1, 5, 2),
            matrices=values[:, 10:].reshape(-1, 2, 3),
            provenance=json.loads(provenance),
        )
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"the alignment in {where} cannot be read ({error}); align this video again"
        ) from error


def _cell(value: Any, digits: int) -> str:
    return "" if np.isnan(value) else f"{float(value):.{digits}f}"
