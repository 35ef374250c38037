"""Tables of a comparison as text, Markdown and HTML."""

import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = (".md", ".html")
"""File names that a report may have."""

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em;font-variant-numeric:tabular-nums}"
    "td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}"
    ".departs{background:#fdd;font-weight:bold}"
)
_MARK = "DEPARTS"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a title.

    Attributes:
        title: above the table.
        columns: titles of the columns; the first and the last are text, the others numbers.
        rows: texts of the cells.
        notes: sentences below.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def as_text(table: Table) -> str:
    """For a terminal."""
    lines = [table.title, "-" * len(table.title)]
    cells = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    last = len(widths) - 1
    for row in cells:
        padded = [
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join([*lines, *(f"({note})" for note in table.notes)])


def as_markdown(title: str, facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> str:
    """A whole report.

    Args:
        title: of the report.
        facts: what was run and with what, as name and value.
        tables: one a section.
    """
    blocks = [f"# {title}", "\n".join(f"* {name}: {_escaped(value)}" for name, value in facts)]
    for table in tables:
        blocks.append(f"## {table.title}")
        last = len(table.columns) - 1
        rule = ["---" if i in (0, last) else "---:" for i in range(len(table.columns))]
        rows = [table.columns, tuple(rule), *table.rows]
        blocks.append("\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows))
        blocks += table.notes
    return "\n\n".join(blocks) + "\n"


def as_html(title: str, facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> str:
    """A whole report as one page that needs no other file; see `as_markdown`."""

    def row(cells: Sequence[str], tag: str) -> str:
        mark = ' class="departs"' if any(_MARK in cell for cell in cells) else ""
        return f"<tr{mark}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = [f"<h1>{html.escape(title)}</h1>", "<ul>"]
    body += [f"<li>{html.escape(name)}: {html.escape(value)}</li>" for name, value in facts]
    body.append("</ul>")
    for table in tables:
        body += [f"<h2>{html.escape(table.title)}</h2>", "<table>", row(table.columns, "th")]
        body += [row(cells, "td") for cells in table.rows]
        body += ["</table>", *(f"<p>{html.escape(note)}</p>" for note in table.notes)]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def check_path(path: Path) -> None:
    """Refuses a report that could not be written later.

    Raises:
        ValueError: another suffix than those of `SUFFIXES`.
        FileNotFoundError: there is no such folder.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a report is a file ending in {' or '.join(SUFFIXES)}, found {path}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for the report {path.name}")


def write(path: Path, title: str, facts: Sequence[tuple[str, str]], tables: Sequence[Table]) -> None:
    """Writes a report as Markdown or HTML, by the suffix of its name."""
    render = as_html if path.suffix == ".html" else as_markdown
    path.write_text(render(title, facts, tables), encoding="utf-8")


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
