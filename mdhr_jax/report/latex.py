"""A report as a LaTeX document with booktabs tables: what belongs into a paper.

Each table stands in a float of its own between two comment lines, so that it can be taken out.
"""

import re
from collections.abc import Sequence

from mdhr_jax.report.document import Block, Bullets, Grid, Heading, Paragraph, Picture

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
    "−": r"\ensuremath{-}",
    "–": "--",
    "…": r"\dots{}",
    "×": r"\texttimes{}",
    "†": r"\textdagger{}",
}


def write(blocks: Sequence[Block]) -> str:
    """The text of the file; tables that are not for print are left out, and so are pictures."""
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
            case Grid() if block.in_print:
                number += 1
                shown.append(_grid(block, number))
            case Grid() | Picture():
                pass
    while shown and shown[-1].startswith("% heading"):
        shown.pop()
    return _HEAD + "\n" + "\n\n".join(shown) + "\n\n\\end{document}\n"


def _grid(grid: Grid, number: int) -> str:
    columns = "l" + ("r" if grid.numeric else "l") * (len(grid.header) - 1)
    rows = [[cell.text for cell in row] for row in grid.rows]
    body = [
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_escape, grid.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_escape, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    # Only what is wider than the page shrinks.
    body = [
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        *body[:-1],
        body[-1] + "}",
    ]
    notes = [rf"\par\smallskip\footnotesize {_escape(note)}" for note in grid.notes]
    lines = [
        f"% table {number}: begin",
        r"\begin{table}[htbp]",
        r"\centering",
        r"\small",
        f"\\caption{{{_escape(grid.caption)}.}}",
        *body,
        *notes,
        r"\end{table}",
        f"% table {number}: end",
    ]
    # Many floats without text between them would fill LaTeX's memory for floats.
    return "\n".join(lines) + "\n\\clearpage" * (number % 8 == 0)


def _list(items: Sequence[str]) -> str:
    return "\n".join([r"\begin{itemize}", *(rf"\item {_escape(item)}" for item in items), r"\end{itemize}"])


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text.replace("\n", " "))
