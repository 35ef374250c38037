"""Rows as a table, by the column names of OpenFace: as a data frame of pandas and as lines of a CSV file.

    frame       number of the frame, from 1
    face_id     number of the person, from 0, in order of appearance; empty where there is no face
    timestamp   seconds from the first frame; empty where the recording does not say
    confidence  of the face detector, 0 to 1; empty where there is no face
    success     1 where there is a face, else 0
    AU01_c ...  1 where the AU's score reaches its threshold, else 0; empty where there is no face
    AU01_p ...  the AU's score, 0 to 1; empty where there is no face

Intensities (OpenFace's ``AU01_r``) are not predicted and not made up. Numbers read back are exactly those
that were written.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mdhr_jax.predict.rows import Row

if TYPE_CHECKING:
    import pandas

_FIRST = ("frame", "face_id", "timestamp", "confidence", "success")
_TIME_DIGITS = 6
_CONFIDENCE_DIGITS = 4

Cell = int | float | None


def columns(aus: Sequence[int]) -> tuple[str, ...]:
    """Names of the columns.

    Args:
        aus: FACS numbers in the order of the scores.
    """
    return (*_FIRST, *(f"AU{au:02d}_c" for au in aus), *(f"AU{au:02d}_p" for au in aus))


def cells(row: Row, num_aus: int) -> list[Cell]:
    """A row's values in the order of the columns; None where there is none.

    Args:
        row: of a face or of a frame without one.
        num_aus: AUs of the table.
    """
    first: list[Cell] = [
        row.frame,
        row.face_id,
        None if row.timestamp is None else round(row.timestamp, _TIME_DIGITS),
        None if row.confidence is None else round(row.confidence, _CONFIDENCE_DIGITS),
        int(row.success),
    ]
    if row.scores is None or row.present is None:
        return first + [None] * (2 * num_aus)
    # The shortest decimal number that is this float32 and no other.
    scores = [float(np.format_float_positional(score, unique=True)) for score in row.scores]
    return [*first, *map(int, row.present), *scores]


def line(row: Row, num_aus: int) -> str:
    """A row as a line of a CSV file, with its end."""
    return ",".join(map(_text, cells(row, num_aus))) + "\n"


def header(aus: Sequence[int]) -> str:
    """The first line of the file, with its end."""
    return ",".join(columns(aus)) + "\n"


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(cell) if isinstance(cell, int) else np.format_float_positional(cell, trim="0")


def data_frame(rows: Iterable[Row], aus: Sequence[int]) -> "pandas.DataFrame":
    """Rows as a data frame.

    Integer columns are of pandas' type ``Int64``, which knows missing values.

    Args:
        rows: in order.
        aus: FACS numbers in the order of the scores.

    Raises:
        ImportError: pandas is missing.
    """
    pandas = require_pandas()
    names = columns(aus)
    values = [cells(row, len(aus)) for row in rows]
    by_column: list[Any] = list(zip(*values, strict=True)) if values else [[] for _ in names]
    whole = {"frame", "face_id", "success", *(name for name in names if name.endswith("_c"))}
    made: dict[str, Any] = {}
    for name, column in zip(names, by_column, strict=True):
        if name in whole:
            made[name] = pandas.array(list(column), dtype="Int64")
        else:
            made[name] = np.asarray([np.nan if cell is None else cell for cell in column], np.float64)
    return pandas.DataFrame(made)


def require_pandas() -> Any:
    """The package pandas.

    Raises:
        ImportError: it is missing; the message says how to get it.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            f"tables need the package pandas ({error}): pip install mdhr_jax[predict]"
        ) from error
    return pandas
