"""The files of an input: a table that has its name only when it is complete, and beside it what it means.

``NAME.csv``, or ``NAME.parquet``, is written as ``NAME.csv.part`` while rows come; ``NAME.json`` says which
input, checkpoint, AUs, thresholds and recipe the table is of. A complete table whose JSON says the same is
not made again. A name that anything else has is left alone: ``NAME_2``, ``NAME_3`` and so on are taken.

Several processes may write into one folder. Whoever works on a name holds the lock of ``NAME.json.part``, in
which its work stands, until all of the input's files have their names and say themselves what they are. What
a killed process leaves is not locked, and in nobody's way.
"""

import contextlib
import dataclasses
import fcntl
import io
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

_LOOK_AGAIN = 0.02
"""Seconds between looks at a lock whose holder has not decided yet."""
_LOOKS = 250
"""After so many it is taken for granted that the holder works on the name."""


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
    def tables(self) -> tuple[Path, ...]:
        """The tables, the CSV file first."""
        stem = self.csv.name.removesuffix(".csv")
        return tuple(self.csv.with_name(f"{stem}.{kind}") for kind in self.kinds)


def part_of(path: Path) -> Path:
    """Where a file is written until it is complete."""
    return path.with_name(f"{path.name}.part")


@contextlib.contextmanager
def claimed(
    out: Path,
    name: str,
    work: Mapping[str, Any],
    taken: set[str],
    free: Callable[[str], bool] = lambda chosen: True,
    kinds: tuple[str, ...] = (CSV,),
) -> Iterator[Place]:
    """The files of an input that nothing else has, and no other process gets before the end.

    Args:
        out: folder of the results.
        name: that the input would have.
        work: what is done to what: whatever decides the content of the table, as JSON.
        taken: names of other inputs of this command; the one chosen is added.
        free: whether other files that are asked for could have a name.
        kinds: of tables.

    Yields:
        The place; its files are written by whoever has it, and by nobody else.

    Raises:
        ValueError: another process does the same work.
        OSError: the folder cannot be written.
    """
    wanted = json.loads(json.dumps(work))
    for number in itertools.count(1):
        chosen = name if number == 1 else f"{name}_{number}"
        # Two names that differ in case alone are one on some systems.
        if chosen.lower() in taken:
            continue
        found = Place(out / f"{chosen}.csv", out / f"{chosen}.json", False, kinds)
        lock = _lock(part_of(found.json), wanted)
        if lock is None:
            continue
        try:
            there = found.json.exists() or any(path.exists() for path in found.tables)
            if (there and facts_of(found.json).get("work") != wanted) or not free(chosen):
                continue
            # Who finds the lock held reads why; before this line it waits for the decision.
            lock.write(json.dumps(wanted).encode())
            lock.flush()
            taken.add(chosen.lower())
            yield dataclasses.replace(found, complete=all(path.is_file() for path in found.tables))
            return
        finally:
            # In this order: once it is closed, the path may be another process's lock.
            with contextlib.suppress(OSError):
                part_of(found.json).unlink(missing_ok=True)
            lock.close()


def _lock(path: Path, wanted: Any) -> io.BufferedRandom | None:
    """An empty file that no other process has locked; None where one has for other work.

    Args:
        path: of the file.
        wanted: the work, as JSON.

    Raises:
        ValueError: another process does the same work, or does not say what.
    """
    before = None
    for _ in range(_LOOKS):
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                # What a killed process has left.
                file.truncate(0)
                return file
            # The one before has just removed it.
            file.close()
        except BlockingIOError:
            file.seek(0)
            said = file.read()
            file.close()
            # Seen once it may be what a killed process has left, which the holder is about to remove.
            if said and said == before:
                with contextlib.suppress(ValueError):
                    if json.loads(said) != wanted:
                        return None
                    break
            before = said
            time.sleep(_LOOK_AGAIN)
        except BaseException:
            file.close()
            raise
    raise ValueError(f"another process is writing {path.with_suffix('')}; wait for its end")


def _is_at(file: io.BufferedRandom, path: Path) -> bool:
    """Whether an open file is the one that a path leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
        place: its files, which are `claimed`.
        aus: FACS numbers in the order of the scores.
        work: what is done to what: whatever decides the content of the table, as JSON.
        flush_every: rows of a CSV file after which others can read them.

    Raises:
        OSError: the files cannot be written.
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
        # By where they are written; those that have their names are not here any more.
        self._files: dict[Path, io.BufferedWriter] = {}
        self._writers: list[_CsvRows | ParquetRows] = []

    def __enter__(self) -> "TableFile":
        try:
            for kind, path in zip(self._place.kinds, self._place.tables, strict=True):
                # Open until it has its name, or is given up.
                file = self._files[path] = part_of(path).open("wb")
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
            for file in self._files.values():
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
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        # A table is never there without its meaning.
        write_json(self._place.json, {"format": FORMAT, **self.counts(), **facts, "work": dict(self._work)})
        for path in [*self._files]:
            os.replace(part_of(path), path)
            self._files.pop(path).close()

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
        for path, file in self._files.items():
            with contextlib.suppress(OSError):
                part_of(path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                # What is left to write may not fit on the disk.
                file.close()
        self._files = {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a claimed place's JSON file: whole, or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
