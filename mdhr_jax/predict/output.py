"""The files of an input: a table that has its name only when it is complete, and beside it what it means.

``NAME.csv`` is written as ``NAME.csv.part`` while rows come; ``NAME.json`` says which input, checkpoint, AUs,
thresholds and recipe the table is of. A complete table whose JSON says the same is not made again. A name
that anything else has is left alone: ``NAME_2``, ``NAME_3`` and so on are taken.
"""

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mdhr_jax.predict import table
from mdhr_jax.predict.rows import Row

FORMAT = 1
"""Of the JSON file."""

_FLUSH_EVERY = 64
"""Rows after which others can read them."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an input's files go.

    Attributes:
        csv, json: the files.
        complete: whether they are there already and of this very work.
    """

    csv: Path
    json: Path
    complete: bool

    @property
    def part(self) -> Path:
        """The table while it is written."""
        return self.csv.with_name(f"{self.csv.name}.part")


def place(
    out: Path,
    name: str,
    work: Mapping[str, Any],
    taken: set[str],
    free: Callable[[str], bool] = lambda chosen: True,
) -> Place:
    """The files of an input that nothing else has.

    Args:
        out: folder of the results.
        name: that the input would have.
        work: what is done to what, as JSON; see `TableFile`.
        taken: names of other inputs of this command; the one chosen is added.
        free: whether other files that are asked for could have a name.
    """
    wanted = json.loads(json.dumps(work))
    for number in itertools.count(1):
        chosen = name if number == 1 else f"{name}_{number}"
        # Two names that differ in case alone are one on some systems.
        if chosen.lower() in taken:
            continue
        csv, beside = out / f"{chosen}.csv", out / f"{chosen}.json"
        there = csv.exists() or beside.exists()
        if (there and _work_of(beside) != wanted) or not free(chosen):
            continue
        taken.add(chosen.lower())
        return Place(csv, beside, complete=csv.is_file())
    raise RuntimeError("numbers do not end")


def _work_of(path: Path) -> Any:
    """What a JSON file says was done; None where there is none of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("work") if isinstance(content, Mapping) else None


class TableFile:
    """Writes the table of an input row by row; what an exception interrupts leaves nothing.

    Args:
        place: its files.
        aus: FACS numbers in the order of the scores.
        work: what is done to what: whatever decides the content of the table, as JSON.

    Raises:
        ValueError: on entry, if another process writes the same file.
    """

    def __init__(self, place: Place, aus: Sequence[int], work: Mapping[str, Any]):
        self._place, self._aus, self._work = place, aus, work
        self._rows = 0
        self._frames = self._with_face = 0
        self._people: set[int] = set()
        self._last = 0

    def __enter__(self) -> "TableFile":
        self._file = self._place.part.open("a", encoding="utf-8", newline="")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ValueError(f"another process is writing {self._place.part}; wait for its end") from error
        # What a killed process has left.
        self._file.truncate(0)
        self._file.write(table.header(self._aus))
        return self

    def write(self, row: Row) -> None:
        """Adds a row; rows of a frame follow each other."""
        self._file.write(table.line(row, len(self._aus)))
        self._rows += 1
        if row.frame != self._last:
            self._frames, self._last = self._frames + 1, row.frame
            self._with_face += row.success
        if row.face_id is not None:
            self._people.add(row.face_id)
        if self._rows % _FLUSH_EVERY == 0:
            self._file.flush()

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
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        content = {"format": FORMAT, **self.counts(), **facts, "work": dict(self._work)}
        temporary = self._place.json.with_name(f".{self._place.json.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            # A table is never there without its meaning.
            os.replace(temporary, self._place.json)
        finally:
            temporary.unlink(missing_ok=True)
        os.replace(self._place.part, self._place.csv)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        with contextlib.suppress(OSError):
            self._place.part.unlink(missing_ok=True)
