"""A report as headings, paragraphs, lists, tables and pictures, before it is Markdown, LaTeX or HTML.

Text is plain: a writer escapes what its format would take for markup.
"""

import dataclasses
from pathlib import Path
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        level: 1 for the report's own, 2 for a section, 3 and 4 below.
        text: without a full stop.
    """

    level: int
    text: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        text: one or more sentences.
        warning: whether it is to stand out.
    """

    text: str
    warning: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        runs: ids of the runs to point to.
        target: id that others point to; empty where none do.
    """

    text: str
    runs: tuple[str, ...] = ()
    target: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table, whose first column names its rows.

    Attributes:
        caption: what it shows, without a full stop.
        header: names of the columns.
        rows: as wide as the header.
        notes: below it.
        numeric: whether the columns behind the first hold numbers.
        folded: whether it may be hidden at first where a format can do that.
        where: whether it belongs into Markdown and HTML (``screen``), into LaTeX (``print``), or into all.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    numeric: bool = True
    folded: bool = False
    where: Literal["everywhere", "screen", "print"] = "everywhere"

    def __post_init__(self) -> None:
        if wrong := [row for row in self.rows if len(row) != len(self.header)]:
            raise ValueError(
                f"table {self.caption!r} has {len(self.header)} columns, a row has {len(wrong[0])}"
            )


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        path: its file.
        link: its path relative to the report.
        text: what it shows.
    """

    path: Path
    link: str
    text: str


Block = Heading | Paragraph | Bullets | Grid | Picture
