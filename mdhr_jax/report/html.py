"""A report as one HTML file that needs no other and no network."""

import base64
import html
from collections.abc import Sequence

from mdhr_jax.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph, Picture

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .2rem .6rem; text-align: left; vertical-align: top; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; }
thead { border-bottom: 1px solid; }
tbody { border-bottom: 1px solid; }
tbody th { font-weight: 400; }
tbody tr:target, tbody tr:hover { outline: 1px dotted; }
.note { border-left: .3rem solid; padding-left: .8rem; }
ul.notes { font-size: .875rem; }
img { max-width: 100%; height: auto; background: #fff; }
""".strip()


def write(blocks: Sequence[Block]) -> str:
    """The text of the file, pictures in it.

    Raises:
        OSError: a picture cannot be read.
    """
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Report")
    shown = (block for block in blocks if not (isinstance(block, Grid) and block.where == "print"))
    body = "\n".join(map(_block, shown))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_escape(text)}</h{level}>"
        case Paragraph(text, warning):
            return (
                f'<p class="note"><strong>Note.</strong> {_escape(text)}</p>'
                if warning
                else f"<p>{_escape(text)}</p>"
            )
        case Bullets(items):
            return _list(items)
        case Grid():
            return _grid(block)
        case Picture(path, _, text):
            content = base64.b64encode(path.read_bytes()).decode("ascii")
            source = f"data:image/png;base64,{content}"
            return (
                f'<figure>\n<img src="{source}" alt="{_escape(text)}">\n'
                f"<figcaption>{_escape(text)}</figcaption>\n</figure>"
            )


def _grid(grid: Grid) -> str:
    caption = _escape(grid.caption)
    header = "".join(f'<th scope="col">{_escape(text)}</th>' for text in grid.header)
    rows = "\n".join(_row(row) for row in grid.rows)
    kind = ' class="numbers"' if grid.numeric else ""
    # What scrolls must be reached by the keyboard too.
    text = (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">\n<table{kind}>\n'
        f"<caption>{caption}</caption>\n<thead>\n<tr>{header}</tr>\n</thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table>\n</div>"
    )
    if grid.notes:
        text += "\n" + _list(grid.notes, "notes")
    return f"<details>\n<summary>{caption}</summary>\n{text}\n</details>" if grid.folded else text


def _row(row: Sequence[Cell]) -> str:
    first, *others = row
    target = f' id="{_escape(first.target)}"' if first.target else ""
    cells = "".join(f"<td>{_cell(cell)}</td>" for cell in others)
    return f'<tr{target}><th scope="row">{_cell(first)}</th>{cells}</tr>'


def _cell(cell: Cell) -> str:
    links = " ".join(f'<a href="#{_escape(run)}">{_escape(run)}</a>' for run in cell.runs)
    return " ".join(filter(None, (_escape(cell.text), links)))


def _list(items: Sequence[str], kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    inside = "\n".join(f"<li>{_escape(item)}</li>" for item in items)
    return f"<ul{attribute}>\n{inside}\n</ul>"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
