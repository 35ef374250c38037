"""Rows as a Parquet file: the columns of `mdhr_jax.predict.table`, nulls where a CSV file's cells are empty.

Scores are float32 as the model gives them, and so exactly what a CSV file's numbers stand for.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from mdhr_jax.predict import table
from mdhr_jax.predict.rows import Row

_ROWS_A_GROUP = 8192
"""Rows in memory before they are written: some minutes of one person, and not many tens of MiB."""


class ParquetRows:
    """Writes rows to an open file.

    Args:
        file: where to.
        aus: FACS numbers in the order of the scores.

    Raises:
        ImportError: pyarrow is missing.
    """

    def __init__(self, file: io.BufferedWriter, aus: Sequence[int]):
        arrow, parquet = require_pyarrow()
        self._arrow, self._num_aus = arrow, len(aus)
        types = {"frame": arrow.int32(), "face_id": arrow.int32(), "success": arrow.int8()}
        types |= {"timestamp": arrow.float64(), "confidence": arrow.float64()}
        always = ("frame", "success")
        self._schema = arrow.schema(
            [
                arrow.field(
                    name,
                    types.get(name, arrow.int8() if name.endswith("_c") else arrow.float32()),
                    nullable=name not in always,
                )
                for name in table.columns(aus)
            ]
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[list[table.Cell]] = []

    def write(self, row: Row) -> None:
        """Adds a row."""
        self._rows.append(table.cells(row, self._num_aus))
        if len(self._rows) == _ROWS_A_GROUP:
            self._put()

    def finish(self) -> None:
        """Writes what is left and the end of the file, without which it cannot be read."""
        if self._rows:
            self._put()
        self._writer.close()

    def abandon(self) -> None:
        """Gives up; what is in the file is worth nothing."""
        with contextlib.suppress(Exception):
            self._writer.close()
        # Or it is closed once more when it is forgotten.
        self._writer.is_open = False

    def _put(self) -> None:
        arrow = self._arrow
        columns = [
            arrow.array(column, field.type)
            for column, field in zip(zip(*self._rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(arrow.Table.from_arrays(columns, schema=self._schema))
        self._rows = []


def require_pyarrow() -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet.

    Raises:
        ImportError: it is missing; the message says how to get it.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"Parquet files need the package pyarrow ({error}): pip install mdhr_jax[predict]"
        ) from error
    return pyarrow, pyarrow.parquet
