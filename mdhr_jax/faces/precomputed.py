"""Faces that another program found, from a CSV file a video.

The header names the columns, in any order; more columns may be there:

    frame, x0, y0, x1, y1, left_eye_x, left_eye_y, right_eye_x, right_eye_y, nose_x, nose_y,
    mouth_left_x, mouth_left_y, mouth_right_x, mouth_right_y, confidence

A row is a face; a frame without a row has none. Pixels are those of the recording's frames, the centre of the
first being at (0.5, 0.5), and left is the viewer's.

Such a file is held against the recording, since numbers that are off by one and coordinates of another scale
would give crops that look right at first. Refused are numbers that the recording does not have, a file in
which none of the used frames is, coordinates that are shares of the picture (all at most `_MOST_SHARE`), and
a point that lies outside of the picture by more than `_OUTSIDE` of its face's side. What may be right, frames
without a face and points a little outside, is noted.
"""

import csv
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mdhr_jax.csv_text import separator_hint
from mdhr_jax.faces.detector import POINTS, Face, Frame

NAME = "precomputed"
VERSION = "1"
"""Of the format."""

_BOX = ("x0", "y0", "x1", "y1")
_PLACES = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
COLUMNS = ("frame", *_BOX, *_PLACES, "confidence")


_MOST_SHARE = 2.0
"""No face has all its coordinates below this many pixels."""

_OUTSIDE = 0.25
"""Of a face that the picture's edge cuts, points may lie outside by this share of its box's side."""

_FEW = 0.5
"""A file with a face in less than this share of the frames deserves a warning."""


class DetectionsError(ValueError):
    """The faces of a file are not those of the recording."""


class PrecomputedDetector:
    """Gives out the faces of one video, frame after frame.

    Args:
        faces: by frame number.
        frame_numbers: numbers of the frames in the order in which they come; by default 0, 1, 2 and so on.
        others: numbers of the recording's other frames, of which the file may also know.
        where: name of the file, for messages.

    Raises:
        DetectionsError: the numbers do not belong to the recording.
    """

    name = NAME
    version = VERSION

    def __init__(
        self,
        faces: Mapping[int, Sequence[Face]],
        frame_numbers: Sequence[int] | None = None,
        others: Collection[int] = (),
        where: str = "the file of faces",
    ):
        self._faces = faces
        self._numbers = None if frame_numbers is None else list(frame_numbers)
        self._next = 0
        self._where = where
        self._notes = () if frame_numbers is None else _compare(faces, frame_numbers, others, where)
        self._outside: list[float] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the faces given out so far."""
        if not self._outside:
            return self._notes
        most = max(self._outside)
        return (
            *self._notes,
            f"{self._where}: points of {len(self._outside)} face(s) lie outside of the picture, "
            f"by up to {most:.1f} pixels",
        )

    def check_end(self) -> None:
        """Holds the numbers against the frames that came, where they were not known before.

        Raises:
            DetectionsError: there are faces of frames that did not come, or only such.
        """
        if self._numbers is None and self._faces:
            self._notes = _compare(self._faces, range(self._next), (), self._where)

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]]:
        """The faces of the next frames, the surest first.

        Raises:
            ValueError: there are more frames than numbers.
            DetectionsError: a point is not in the picture.
        """
        found = []
        for frame in frames:
            number = self._take()
            found.append(list(self._faces.get(number, ())))
            for face in found[-1]:
                self._check_place(number, face, frame)
        return found

    def _check_place(self, number: int, face: Face, frame: Frame) -> None:
        height, width = frame.shape[:2]
        beyond = np.maximum(-face.points, face.points - (width, height)).max(1)
        worst = int(beyond.argmax())
        if beyond[worst] > _OUTSIDE * face.side:
            x, y = face.points[worst].tolist()
            place = f"{POINTS[worst]} is at ({x:g}, {y:g})"
            raise DetectionsError(
                f"{self._where}: frame {number}: {place}, outside of the picture "
                f"of {width} x {height}; expected pixels of the recording's frames, upright and not reduced"
            )
        if beyond[worst] > 0:
            self._outside.append(float(beyond[worst]))

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
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    _check_scale(path, [face for found in faces.values() for face in found])
    return {number: sorted(found, key=lambda face: -face.confidence) for number, found in faces.items()}


def _check_scale(path: Path, faces: Sequence[Face]) -> None:
    for what, values in (("boxes", [f.box for f in faces]), ("points", [f.points for f in faces])):
        low, high = (np.min(values), np.max(values)) if values else (0.0, math.inf)
        if max(-low, high) <= _MOST_SHARE:
            raise ValueError(
                f"{path}: all coordinates of the {what} are {low:g} to {high:g}, as shares of the picture "
                "are; expected pixels: multiply x by the width and y by the height of the frames"
            )


def _compare(
    faces: Collection[int], used: Sequence[int], others: Collection[int], where: str
) -> tuple[str, ...]:
    """Holds the frame numbers of a file against those of the recording; returns notes."""
    known = {*used, *others}
    strange = sorted(set(faces) - known)
    lacking = [number for number in used if number not in faces]
    spans = f"its frames are {_span(faces)}, those of the recording {_span(known)}"
    if strange or len(lacking) == len(used):
        wrong = f"the recording has no frame {strange[0]}" if strange else "none of the frames used is in it"
        wrong += f" (nor {len(strange) - 1} more of them)" if len(strange) > 1 else ""
        raise DetectionsError(
            f"{where}: {wrong}: {spans}{_shift(faces, used, known)}. Number its rows as the recording does, "
            "or give the file of this recording"
        )
    if not lacking:
        return ()
    few = "warning: " if len(used) - len(lacking) < _FEW * len(used) else ""
    text = f"{where} has no face in {len(lacking)} of {len(used)} frames, first frame {lacking[0]}"
    if hint := _shift(faces, used, known):
        return (f"warning: {text}; {spans}{hint}",)
    return (f"{few}{text}" + (f"; {spans}" if few else ""),)


def _shift(faces: Collection[int], used: Sequence[int], known: Collection[int]) -> str:
    """Words for numbers that would fit, with a face in every frame, if they were shifted."""
    for by in (1, -1, min(used) - min(faces)) if faces and used else ():
        moved = {number + by for number in faces}
        if by and moved <= set(known) and moved >= set(used):
            return f"; they would fit if they were {abs(by)} {'more' if by > 0 else 'less'}"
    return ""


def _span(numbers: Collection[int]) -> str:
    return f"{min(numbers)} to {max(numbers)}" if numbers else "none"


def _rows(path: Path, rows: Iterator[list[str]]) -> Iterator[tuple[int, Face]]:
    header = [cell.strip() for cell in next(rows, [])]
    wrong = [name for name in COLUMNS if header.count(name) != 1]
    if wrong:
        raise ValueError(
            f"{path}: the header must have the column(s) {', '.join(wrong)} once, found {','.join(header)}"
            + separator_hint(header)
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
