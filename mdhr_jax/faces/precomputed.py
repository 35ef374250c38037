"""Faces that another program found, from a CSV file a video.

The header names the columns, in any order; more columns may be there:

    frame, x0, y0, x1, y1, left_eye_x, left_eye_y, right_eye_x, right_eye_y, nose_x, nose_y,
    mouth_left_x, mouth_left_y, mouth_right_x, mouth_right_y, confidence

A row is a face; a frame without a row has none. Pixels are those of the recording's frames, the centre of the
first being at (0.5, 0.5), and left is the viewer's.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mdhr_jax.faces.detector import POINTS, Face, Frame

NAME = "precomputed"
VERSION = "1"
"""Of the format."""

_BOX = ("x0", "y0", "x1", "y1")
_PLACES = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
COLUMNS = ("frame", *_BOX, *_PLACES, "confidence")


class PrecomputedDetector:
    """Gives out the faces of one video, frame after frame.

    Args:
        faces: by frame number.
        frame_numbers: numbers of the frames in the order in which they come; by default 0, 1, 2 and so on.
    """

    name = NAME
    version = VERSION

    def __init__(self, faces: Mapping[int, Sequence[Face]], frame_numbers: Sequence[int] | None = None):
        self._faces = faces
        self._numbers = None if frame_numbers is None else list(frame_numbers)
        self._next = 0

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces of the next frames, the surest first.

        Raises:
            ValueError: there are more frames than numbers.
        """
        return [list(self._faces.get(self._take(), ())) for _ in frames]

    def _take(self) -> int:
        place = self._next
        self._next += 1
        if self._numbers is None:
            return place
        if place >= len(self._numbers):
            raise ValueError(
                f"frame {place + 1} of the video has no number: {len(self._numbers)} were expected"
            )
        return self._numbers[place]


def read(path: Path) -> dict[int, list[Face]]:
    """Reads a video's faces, by frame number, the surest first.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a CSV; the message names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            faces: dict[int, list[Face]] = {}
            for number, face in _rows(path, csv.reader(file)):
                faces.setdefault(number, []).append(face)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: each video needs a CSV of its name with the columns {','.join(COLUMNS)}"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    return {number: sorted(found, key=lambda face: -face.confidence) for number, found in faces.items()}


def _rows(path: Path, rows: Iterator[list[str]]) -> Iterator[tuple[int, Face]]:
    header = [cell.strip() for cell in next(rows, [])]
    wrong = [name for name in COLUMNS if header.count(name) != 1]
    if wrong:
        raise ValueError(
            f"{path}: the header must have the column(s) {', '.join(wrong)} once, found {','.join(header)}"
        )
    for line, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}: line {line} has {len(row)} columns, the header {len(header)}")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        if not cells["frame"].isdecimal():
            raise ValueError(f"{path}: line {line}: {cells['frame']!r} is not a frame number")
        yield int(cells["frame"]), _face(f"{path}: line {line}", cells)


def _face(where: str, cells: Mapping[str, str]) -> Face:
    values = {}
    for name in COLUMNS[1:]:
        try:
            values[name] = float(cells[name])
        except ValueError:
            values[name] = math.nan
        if not math.isfinite(values[name]):
            raise ValueError(f"{where}: {name} is {cells[name]!r}, expected a number")
    box = np.asarray([values[name] for name in _BOX], np.float32)
    points = np.asarray([values[name] for name in _PLACES], np.float32).reshape(5, 2)
    if not (box[2:] > box[:2]).all():
        raise ValueError(f"{where}: the box {box.tolist()} is empty; expected x0 < x1 and y0 < y1")
    if not 0.0 <= values["confidence"] <= 1.0:
        raise ValueError(f"{where}: confidence is {values['confidence']}, expected 0 to 1")
    if points[0, 0] == points[1, 0] and points[0, 1] == points[1, 1]:
        raise ValueError(f"{where}: both eyes are at {points[0].tolist()}")
    return Face(box, points, values["confidence"])
