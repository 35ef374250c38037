"""A report as a LaTeX document with booktabs tables: what belongs into a paper.

Each table stands in a float of its own between two comment lines, so that it can be taken out.
"""

import dataclasses
import math
import re
import textwrap
from collections.abc import Sequence

from mdhr_jax.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph, Picture

_HEAD = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
% Captions name the paper's tables; a number before that would be another.
\makeatletter\renewcommand{\@makecaption}[2]{\centering #2\par\medskip}\makeatother
\begin{document}
"""

# Widths and heights in letters and lines of a table; where they are a little wrong, a table shrinks a little.
_PAGE_WIDTH = 120
_PAGE_HEIGHT = 48
_BETWEEN = 2  # Columns.
_SMALLER = 0.8  # What a small letter takes of a usual one.
_HEADER_WIDTH, _RUNS_WIDTH = 15, 18
_TEXT_WIDTHS = (64, 48, 40, 34)

_INTERVAL = re.compile(r"(\S+ to) (\S+)")
_WITH_INTERVAL = re.compile(r"(\S+) (\([^()]+ to [^()]+\))(.*)")
_SECTIONS = {1: "section*", 2: "section", 3: "subsection", 4: "subsubsection"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "*": r"\textasteriskcentered{}",
    "[": "{[}",
    "]": "{]}",
    "\u00a0": "~",
    "−": r"\ensuremath{-}",
    "–": "--",
    "…": r"\dots{}",
    "×": r"\texttimes{}",
    "†": r"\textdagger{}",
}


def write(blocks: Sequence[Block]) -> str:
    """The text of the file; tables that are for the screen are left out, and so are pictures."""
    shown: list[str] = []
    number = 0
    for block in blocks:
        match block:
            case Heading(level, text):
                # A heading with nothing below it goes when the next of its kind comes.
                while shown and (found := re.match(r"% heading (\d)", shown[-1])) and int(found[1]) >= level:
                    shown.pop()
                shown.append(f"% heading {level}\n\\{_SECTIONS[level]}{{{_escape(text)}}}")
            case Paragraph(text, warning):
                shown.append(f"\\textbf{{Note.}} {_escape(text)}" if warning else _escape(text))
            case Bullets(items):
                shown.append(_list(items))
            case Grid() if block.where != "screen":
                for text in _grid(block):
                    number += 1
                    # Many floats without text between them would fill LaTeX's memory for floats.
                    ending = "\n\\clearpage" * (number % 8 == 0)
                    shown.append(f"% table {number}: begin\n{text}\n% table {number}: end{ending}")
            case Grid() | Picture():
                pass
    while shown and shown[-1].startswith("% heading"):
        shown.pop()
    return _HEAD + "\n" + "\n\n".join(shown) + "\n\n\\end{document}\n"


@dataclasses.dataclass(frozen=True)
class _Line:
    """A line within a cell, as plain text.

    Attributes:
        text: what it shows.
        small: what stands behind it, or alone, in smaller letters.
    """

    text: str
    small: str = ""

    @property
    def width(self) -> float:
        """In letters of the table's size."""
        return len(self.text) + _SMALLER * len(self.small) + bool(self.text and self.small)

    @property
    def latex(self) -> str:
        small = f"{{\\scriptsize {_escape(self.small)}}}" if self.small else ""
        return " ".join(filter(None, (_escape(self.text), small)))


def _grid(grid: Grid) -> list[str]:
    """The floats of a table: one, or several where it is higher than a page."""
    header = [[_Line(text)] for text in grid.header]
    rows = [[_one_line(cell) for cell in row] for row in grid.rows]
    # The widest that fits the page, so that as little as possible is wrapped.
    for width in _TEXT_WIDTHS:
        if _width([header, *rows]) <= _PAGE_WIDTH:
            break
        header = [[_Line(text) for text in _wrap(name, _HEADER_WIDTH)] for name in grid.header]
        rows = [[_several_lines(cell, width) for cell in row] for row in grid.rows]
    parts = _pages(rows)
    floats = []
    for number, part in enumerate(parts, 1):
        caption = grid.caption + (f" ({number} of {len(parts)})" if len(parts) > 1 else "")
        floats.append(_float(grid, caption, header, part, grid.notes if part is parts[-1] else ()))
    return floats


_Row = list[list[_Line]]


def _one_line(cell: Cell) -> list[_Line]:
    return [_Line(cell.text, ", ".join(cell.runs))]


def _several_lines(cell: Cell, width: int) -> list[_Line]:
    """An interval below its number or in two lines, a long text wrapped, the runs below."""
    if found := _WITH_INTERVAL.fullmatch(cell.text):
        lines = [_Line(found[1] + found[3]), _Line("", found[2])]
    elif found := _INTERVAL.fullmatch(cell.text):
        lines = [_Line("", found[1]), _Line("", found[2])]
    else:
        lines = [_Line(text) for text in _wrap(cell.text, width)]
    return lines + [_Line("", text) for text in textwrap.wrap(", ".join(cell.runs), _RUNS_WIDTH)]


def _wrap(text: str, width: int) -> list[str]:
    whole = text.replace(" %", "\u00a0%")
    return textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False) or [""]


def _width(rows: Sequence[_Row]) -> float:
    columns = zip(*rows, strict=True)
    return sum(max(line.width for cell in column for line in cell) + _BETWEEN for column in columns)


def _pages(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Rows that fit a page together; one part even of no rows."""
    parts: list[list[_Row]] = [[]]
    heights = [max(map(len, row)) for row in rows]
    # Parts of about the same height, not a last one of two rows.
    enough = sum(heights) / max(1, math.ceil(sum(heights) / _PAGE_HEIGHT))
    filled = 0
    for row, height in zip(rows, heights, strict=True):
        if parts[-1] and (filled >= enough or filled + height > _PAGE_HEIGHT):
            parts.append([])
            filled = 0
        parts[-1].append(row)
        filled += height
    return parts


def _float(grid: Grid, caption: str, header: _Row, rows: Sequence[_Row], notes: Sequence[str]) -> str:
    columns = "l" + ("r" if grid.numeric else "l") * (len(grid.header) - 1)
    body = []
    for row in rows:
        # Space only between rows of several lines, which would run together without.
        body += [r"\addlinespace[3pt]"] * bool(body and any(len(cell) > 1 for cell in row))
        body += _lines(row, above=False)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        f"\\caption{{{_escape(caption)}.}}",
        # Only what is wider than the page shrinks.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_lines(header, above=True),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\smallskip\footnotesize {_escape(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _lines(row: _Row, *, above: bool) -> list[str]:
    """A row as lines of the table; cells of fewer lines are filled up above, or below."""
    height = max(map(len, row))
    filled = []
    for cell in row:
        missing = [_Line("")] * (height - len(cell))
        filled.append([*missing, *cell] if above else [*cell, *missing])
    return [" & ".join(line.latex for line in lines) + r" \\" for lines in zip(*filled, strict=True)]


def _list(items: Sequence[str]) -> str:
    return "\n".join([r"\begin{itemize}", *(rf"\item {_escape(item)}" for item in items), r"\end{itemize}"])


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace("\n", " "))
