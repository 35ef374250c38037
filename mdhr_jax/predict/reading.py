"""Reads a table of `mdhr_jax.predict` again: its rows frame by frame, and what each person shows in it."""

import csv
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.table import columns


def frames(path: Path, aus: Sequence[int]) -> Iterator[list[Row]]:
    """The rows of each frame, in order and in bounded memory.

    Args:
        path: of the table.
        aus: FACS numbers in the order of the scores.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no such table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = columns(aus)
        if tuple(next(reader, ())) != names:
            raise ValueError(f"{path} has other columns than {','.join(names)}; delete it, it is made anew")
        try:
            rows = (_row(cells, len(aus)) for cells in reader)
            for _, together in itertools.groupby(rows, key=lambda row: row.frame):
                yield list(together)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"{path}, line {reader.line_num} is no row of a table ({error}); delete it, it is made anew"
            ) from error


def _row(cells: list[str], num_aus: int) -> Row:
    frame, face_id, timestamp, confidence, success = cells[:5]
    scores = present = None
    if success == "1":
        present = np.asarray([int(cell) for cell in cells[5 : 5 + num_aus]], bool)
        scores = np.asarray([float(cell) for cell in cells[5 + num_aus : 5 + 2 * num_aus]], np.float32)
        if len(scores) != num_aus:
            raise ValueError(f"{len(cells)} columns, expected {5 + 2 * num_aus}")
    return Row(
        int(frame),
        int(face_id) if face_id else None,
        float(timestamp) if timestamp else None,
        float(confidence) if confidence else None,
        scores,
        present,
    )


@dataclasses.dataclass
class Person:
    """One person in a table.

    Attributes:
        face_id: the person's number.
        first, last: frames in which the face is seen, from 1.
        frames: in how many.
        total: sum of each AU's scores.
        present: frames in which each AU is present.
        best: each AU's highest score.
        best_frame: where it is.
    """

    face_id: int
    first: int
    last: int
    frames: int
    total: Float[np.ndarray, "N"]
    present: Int[np.ndarray, "N"]
    best: Float32[np.ndarray, "N"]
    best_frame: Int[np.ndarray, "N"]

    @property
    def mean(self) -> Float[np.ndarray, "N"]:
        """Mean score of each AU."""
        return self.total / self.frames


@dataclasses.dataclass(frozen=True)
class Overview:
    """What is in a table.

    Attributes:
        frames: how many.
        with_face: frames with a face.
        timed: whether they have times.
        end: time of the last frame, seconds; 0.0 without times.
        people: by number.
    """

    frames: int
    with_face: int
    timed: bool
    end: float
    people: dict[int, Person]


def overview(path: Path, aus: Sequence[int]) -> Overview:
    """Reads a table once.

    Args:
        path: of the table.
        aus: FACS numbers in the order of the scores.

    Raises:
        FileNotFoundError, ValueError: as `frames`.
    """
    people: dict[int, Person] = {}
    count = with_face = 0
    timed, end = True, 0.0
    for rows in frames(path, aus):
        count += 1
        with_face += rows[0].success
        timed = timed and rows[0].timestamp is not None
        end = rows[0].timestamp or 0.0
        for row in rows:
            if row.face_id is None or row.scores is None or row.present is None:
                continue
            person = people.get(row.face_id)
            if person is None:
                nothing = np.zeros(len(aus), np.int64)
                person = people[row.face_id] = Person(
                    row.face_id,
                    row.frame,
                    row.frame,
                    0,
                    np.zeros(len(aus)),
                    nothing,
                    np.full(len(aus), -1, np.float32),
                    nothing.copy(),
                )
            person.last, person.frames = row.frame, person.frames + 1
            person.total += row.scores
            person.present += row.present
            better = row.scores > person.best
            person.best[better], person.best_frame[better] = row.scores[better], row.frame
    return Overview(count, with_face, timed and count > 0, end if timed else 0.0, people)
