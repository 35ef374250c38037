"""The files of an input: a table that has its name only when it is complete, and beside it what it means.

``NAME.csv``, or ``NAME.parquet``, is written as ``NAME.csv.part`` while rows come; ``NAME.json`` says which
input, checkpoint, AUs, thresholds and recipe the table is of. A complete table whose JSON says the same is
not made again. A name that anything else has is left alone: ``NAME_2``, ``NAME_3`` and so on are taken.
"""

import contextlib
import dataclasses
import fcntl
import io
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mdhr_jax.predict import table
from mdhr_jax.predict.parquet import ParquetRows
from mdhr_jax.predict.rows import Row

FORMAT = 1
"""Of the JSON file."""

CSV, PARQUET = "csv", "parquet"
"""Kinds of tables, and how their names end."""

FLUSH_EVERY = 64
"""Rows after which others can read them."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an input's files go.

    Attributes:
        csv, json: the files.
        complete: whether they are there already and of this very work.
        kinds: of tables, `CSV` and `PARQUET`.
    """

    csv: Path
    json: Path
    complete: bool
    kinds: tuple[str, ...] = (CSV,)

    @property
    def part(self) -> Path:
        """The table while it is written."""
        return _part(self.tables[0])

    @property
    def tables(self) -> tuple[Path, ...]:
        """The tables, the CSV file first."""
        stem = self.csv.name.removesuffix(".csv")
        return tuple(self.csv.with_name(f"{stem}.{kind}") for kind in self.kinds)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def place(
    out: Path,
    name: str,
    work: Mapping[str, Any],
    taken: set[str],
    free: Callable[[str], bool] = lambda chosen: True,
    kinds: tuple[str, ...] = (CSV,),
) -> Place:
    """The files of an input that nothing else has.

    Args:
        out: folder of the results.
        name: that the input would have.
        work: what is done to what, as JSON; see `TableFile`.
        taken: names of other inputs of this command; the one chosen is added.
        free: whether other files that are asked for could have a name.
        kinds: of tables.
    """
    wanted = json.loads(json.dumps(work))
    for number in itertools.count(1):
        chosen = name if number == 1 else f"{name}_{number}"
        # Two names that differ in case alone are one on some systems.
        if chosen.lower() in taken:
            continue
        csv, beside = out / f"{chosen}.csv", out / f"{chosen}.json"
        found = Place(csv, beside, False, kinds)
        there = beside.exists() or any(path.exists() for path in found.tables)
        if (there and _work_of(beside) != wanted) or not free(chosen):
            continue
        taken.add(chosen.lower())
        return dataclasses.replace(found, complete=all(path.is_file() for path in found.tables))
    raise RuntimeError("numbers do not end")


def _work_of(path: Path) -> Any:
    """What a JSON file says was done; None where there is none of ours."""
    return facts_of(path).get("work")


def facts_of(path: Path) -> Mapping[str, Any]:
    """What a table's JSON file says; nothing where there is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, Mapping) else {}


class _CsvRows:
    """Rows as lines of a CSV file."""

    def __init__(self, file: io.BufferedWriter, aus: Sequence[int]):
        self._file, self._num_aus = file, len(aus)
        self._file.write(table.header(aus).encode())

    def write(self, row: Row) -> None:
        self._file.write(table.line(row, self._num_aus).encode())

    def finish(self) -> None:
        self._file.flush()

    def abandon(self) -> None:
        pass


class TableFile:
    """Writes the table of an input row by row; what an exception interrupts leaves nothing.

    Args:
        place: its files.
        aus: FACS numbers in the order of the scores.
        work: what is done to what: whatever decides the content of the table, as JSON.
        flush_every: rows of a CSV file after which others can read them.

    Raises:
        ValueError: on entry, if another process writes the same file.
        ImportError: on entry, if what writes a kind of table is missing.
    """

    def __init__(
        self, place: Place, aus: Sequence[int], work: Mapping[str, Any], flush_every: int = FLUSH_EVERY
    ):
        self._place, self._aus, self._work, self._flush_every = place, aus, work, flush_every
        self._rows = 0
        self._frames = self._with_face = 0
        self._people: set[int] = set()
        self._last = 0
        self._files: list[io.BufferedWriter] = []
        self._writers: list[_CsvRows | ParquetRows] = []

    def __enter__(self) -> "TableFile":
        try:
            for kind, path in zip(self._place.kinds, self._place.tables, strict=True):
                file = _locked(_part(path))
                self._files.append(file)
                self._writers.append((_CsvRows if kind == CSV else ParquetRows)(file, self._aus))
        except BaseException:
            self._give_up()
            raise
        return self

    def write(self, row: Row) -> None:
        """Adds a row; rows of a frame follow each other."""
        for writer in self._writers:
            writer.write(row)
        self._rows += 1
        if row.frame != self._last:
            self._frames, self._last = self._frames + 1, row.frame
            self._with_face += row.success
        if row.face_id is not None:
            self._people.add(row.face_id)
        if self._rows % self._flush_every == 0:
            for file in self._files:
                file.flush()

    def counts(self) -> dict[str, int]:
        """Rows so far, frames, frames with a face, and people."""
        return {
            "rows": self._rows,
            "frames": self._frames,
            "frames_with_face": self._with_face,
            "people": len(self._people),
        }

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Gives the table its name, and writes what it means beside it.

        Args:
            facts: more to say, as JSON.
        """
        while self._writers:
            self._writers[0].finish()
            del self._writers[0]
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        content = {"format": FORMAT, **self.counts(), **facts, "work": dict(self._work)}
        temporary = self._place.json.with_name(f".{self._place.json.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            # A table is never there without its meaning.
            os.replace(temporary, self._place.json)
        finally:
            temporary.unlink(missing_ok=True)
        for path in self._place.tables:
            os.replace(_part(path), path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_up()

    def _give_up(self) -> None:
        """Removes what has no name yet."""
        for writer in self._writers:
            writer.abandon()
        # Files of another process come behind those that are open here.
        for file, path in zip(self._files, self._place.tables, strict=False):
            file.close()
            with contextlib.suppress(OSError):
                _part(path).unlink(missing_ok=True)


def _locked(part: Path) -> io.BufferedWriter:
    """An empty file that no other process writes.

    Raises:
        ValueError: another process does.
    """
    file = part.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(f"another process is writing {part}; wait for its end") from error
    # What a killed process has left.
    file.truncate(0)
    return file
