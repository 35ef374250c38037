"""A report as Markdown, in tables as GitHub shows them."""

import re
from collections.abc import Sequence

from mdhr_jax.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph, Picture

_MARKUP = re.compile(r"([\\`*_\[\]<>|~#])")


def write(blocks: Sequence[Block]) -> str:
    """The text of the file."""
    shown = (block for block in blocks if not (isinstance(block, Grid) and block.where == "print"))
    return "\n\n".join(map(_block, shown)) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_escape(text)}"
        case Paragraph(text, warning):
            return f"> **Note.** {_escape(text)}" if warning else _escape(text)
        case Bullets(items):
            return _list(items)
        case Grid():
            return _grid(block)
        case Picture(_, link, text):
            return f"![{_escape(text)}]({link.replace(' ', '%20')})\n\n*{_escape(text)}*"


def _grid(grid: Grid) -> str:
    aligned = ["---"] + ["---:" if grid.numeric else "---"] * (len(grid.header) - 1)
    lines = [
        f"**{_escape(grid.caption)}**",
        "",
        f"| {' | '.join(map(_escape, grid.header))} |",
        f"| {' | '.join(aligned)} |",
        *(f"| {' | '.join(map(_cell, row))} |" for row in grid.rows),
    ]
    if grid.notes:
        lines += ["", _list(grid.notes)]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    target = f'<a id="{cell.target}"></a>' if cell.target else ""
    links = "".join(f" [{run}](#{run})" for run in cell.runs)
    return f"{target}{_escape(cell.text)}{links}".strip()


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"* {_escape(item)}" for item in items)


def _escape(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text).replace("\n", " ")
