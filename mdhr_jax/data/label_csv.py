"""Label files: a header ``frame,AU1,AU2,...``, then a row a frame.

Columns may come in any order, be spelt ``AU01`` or ``AU01_c``, and there may be others. A label is 0, 1, or 9
or -1 for unknown.
"""

import csv
import dataclasses
import io
import re

import numpy as np
from jaxtyping import Int8, Int32

from mdhr_jax import facs
from mdhr_jax.csv_text import separator_hint

MOST_DIGITS = 9
"""Of a frame number without zeros before it, so that 32 bits hold it."""

_AU_COLUMN = re.compile(r"AU0*(\d+)(?:_c)?", re.IGNORECASE)
_VALUES = {"0": 0, "1": 1, "9": facs.UNKNOWN, "-1": facs.UNKNOWN}


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """What a label file holds.

    Attributes:
        frame_numbers: ascending.
        labels: of these frames; 0, 1, or -1 where unknown.
        lines: of these frames in the file, from 1.
        absent: names of the AUs without a column, all of whose labels are unknown.
        problems: what is wrong, with the line, from 1, where there is one. While there are any, the numbers
            and labels are not all that the file holds.
    """

    frame_numbers: Int32[np.ndarray, "F"]
    labels: Int8[np.ndarray, "F N"]
    lines: tuple[int, ...] = ()
    absent: tuple[str, ...] = ()
    problems: tuple[tuple[int | None, str], ...] = ()


def read(content: bytes, au_set: facs.AUSet, *, complete: bool) -> LabelTable:
    """Reads a label file.

    Args:
        content: of the file, UTF-8.
        au_set: whose labels are wanted, in its order.
        complete: whether every AU must have a column and every label be said; otherwise an empty cell is an
            unknown label.
    """
    nothing = np.zeros(0, np.int32), np.zeros((0, au_set.num_aus), np.int8)
    try:
        text = content.decode("utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
    except (UnicodeDecodeError, csv.Error) as error:
        return LabelTable(*nothing, problems=((None, f"cannot be read as CSV: {error}"),))
    header = rows[0] if rows else []
    columns, absent, wrong = _columns(header, au_set, complete=complete)
    if wrong:
        return LabelTable(*nothing, problems=tuple((1, text) for text in wrong))
    place = header.index("frame")
    values = _VALUES if complete else _VALUES | {"": facs.UNKNOWN}
    problems: list[tuple[int | None, str]] = []
    labels: dict[int, list[int]] = {}
    line_of: dict[int, int] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        # A column that is missing is no label that is said to be unknown.
        cells = ["9" if column is None else row[column] if column < len(row) else "" for column in columns]
        bad = [cell for cell in cells if cell not in values]
        if len(row) != len(header):
            hint = "" if complete else "; an unknown label is an empty column"
            problems.append((line, f"has {len(row)} columns, the header {len(header)}{hint}"))
        elif not is_frame_number(row[place]):
            problems.append((line, f"{row[place]!r} is not a frame number, expected at most 9 digits"))
        elif int(row[place]) in labels:
            problems.append((line, f"{row[place]!r} is not a frame number of its own"))
        elif bad:
            problems.append((line, f"label {bad[0]!r}, expected 0, 1, or 9 or -1 for unknown"))
        else:
            labels[int(row[place])] = [values[cell] for cell in cells]
            line_of[int(row[place])] = line
    numbers = sorted(labels)
    if not numbers:
        return LabelTable(*nothing, absent=absent, problems=tuple(problems))
    found = np.asarray([labels[number] for number in numbers], np.int8)
    lines = tuple(line_of[number] for number in numbers)
    return LabelTable(np.asarray(numbers, np.int32), found, lines, absent, tuple(problems))


def is_frame_number(text: str) -> bool:
    """Whether a text is a frame number: digits, of which at most `MOST_DIGITS` count."""
    return text.isdecimal() and len(text.lstrip("0")) <= MOST_DIGITS


def _columns(
    header: list[str], au_set: facs.AUSet, *, complete: bool
) -> tuple[list[int | None], tuple[str, ...], list[str]]:
    """Column of each AU (None without one), AUs without a column, and what is wrong."""
    hint = separator_hint(header)
    if hint or header.count("frame") != 1:
        return [], (), [f"the header must have the column frame once, found {','.join(header)}{hint}"]
    wrong: list[str] = []
    column_of: dict[int, int] = {}
    for i, cell in enumerate(header):
        if (match := _AU_COLUMN.fullmatch(cell)) is None:
            continue
        first = column_of.setdefault(int(match[1]), i)
        if first != i:
            wrong.append(f"the columns {header[first]} and {cell} are both AU{int(match[1])}; leave one")
    absent = tuple(f"AU{au}" for au in au_set.aus if au not in column_of)
    if complete and absent:
        wrong.append(f"the header must have the column(s) {', '.join(absent)} once, found {','.join(header)}")
    return [column_of.get(au) for au in au_set.aus], absent, wrong
