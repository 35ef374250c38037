"""The report's files, written so that none is ever half there."""

import json
import os
from pathlib import Path

from mdhr_jax.report import html, latex, markdown, pages, record
from mdhr_jax.report.results import Results

NAME = "report"


def write(results: Results, out: Path) -> list[Path]:
    """Writes ``report.md``, ``report.tex``, ``report.html`` and ``report.json``.

    The same runs and settings give the same bytes.

    Args:
        results: what to report.
        out: directory; made where absent. Pictures in its ``figures`` become part of the report.

    Returns:
        The files.

    Raises:
        OSError: a file cannot be written, or a picture not read.
    """
    blocks = pages.write(results, out)
    contents = {
        "md": markdown.write(blocks),
        "tex": latex.write(blocks),
        "html": html.write(blocks),
        "json": json.dumps(record.content(results), indent=1, allow_nan=False) + "\n",
    }
    out.mkdir(parents=True, exist_ok=True)
    temporary = {out / f"{NAME}.{ending}": out / f".{NAME}.{ending}.{os.getpid()}" for ending in contents}
    try:
        for path, text in zip(temporary.values(), contents.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        for target, path in temporary.items():
            os.replace(path, target)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return list(temporary)
