"""How all figures look, and how they become files: same input, same bytes.

Colours are Okabe and Ito's (2008), which colour-blind people can tell apart; nothing is told by colour
alone. Heat maps are ``cividis``, differences ``PuOr``: both stay in order in grey.
"""

import contextlib
import io
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""For lines and areas, the most different ones first."""

LINES = ("-", "--", "-.", ":")
"""Dashes of lines, so that lines differ without colour too."""

FAINT = "0.45"
SEQUENTIAL, DIVERGING = "cividis", "PuOr"
UNDEFINED_HATCH = "////"

VECTOR_FORMATS = ("pdf", "svg")
PIXELS_PER_INCH = 150

_FOOTER_LETTERS = 19  # An inch holds of the small print, at least.
_FOOTER_POINTS = 6.5

# What fixes the look whatever the user's own settings are.
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # Text stays text that can be searched.
    "svg.fonttype": "path",
    "svg.hashsalt": "mdhr_jax",
    "path.simplify": True,
}
_METADATA = {
    "png": {"Software": "mdhr_jax"},
    "pdf": {"Creator": "mdhr_jax", "Producer": "mdhr_jax", "CreationDate": None},
    "svg": {"Creator": "mdhr_jax", "Date": None},
}


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Draw and write figures inside of this.

    Raises:
        ImportError: Matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError(f"figures need Matplotlib ({error}): pip install mdhr_jax[figures]") from error
    rc: Any = _SETTINGS
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(rc)
        yield


def figure(
    width: float | int, height: float | int, title: str, footer: str, *, footer_apart: bool = False
) -> Any:
    """An empty figure.

    Args:
        width, height: inches.
        title: above everything.
        footer: in small print below everything: where the numbers come from.
        footer_apart: keeps its place free of all else, as `legend_of_all` needs it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made: Any = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    made.suptitle(title, fontsize=12)
    lines = textwrap.wrap(footer, int(_FOOTER_LETTERS * width))
    if not footer_apart:
        made.supxlabel("\n".join(lines), fontsize=_FOOTER_POINTS, color=FAINT, x=0.01, ha="left")
        return made
    # Matplotlib draws a legend of the figure over its label.
    share = (1.3 * len(lines) + 1.0) * _FOOTER_POINTS / 72 / height if lines else 0.0
    made.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    margin = 0.5 * _FOOTER_POINTS / 72 / height
    made.text(0.01, margin, "\n".join(lines), fontsize=_FOOTER_POINTS, color=FAINT, va="bottom", gid="footer")
    return made


def legend_of_all(drawn: Any, handles: list[Any], **options: Any) -> None:
    """A legend under everything but the small print.

    Args:
        drawn: a `figure` with `footer_apart`.
        handles: entries.
        options: of the legend.
    """
    layout = drawn.get_layout_engine()
    _, bottom, _, height = layout.get()["rect"]
    legend = drawn.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0, bottom, 1, height),
        frameon=False,
        borderaxespad=0.0,
        **options,
    )
    legend.set_in_layout(False)
    taken = legend.get_window_extent(drawn.canvas.get_renderer()).height / drawn.bbox.height
    layout.set(rect=(0, bottom + taken, 1, height - taken))


def legend_below(axes: Any, handles: list[Any] | None, inches: float, **options: Any) -> None:
    """A legend under some axes, so far below them that their labels have room.

    Args:
        axes: that it belongs to.
        handles: entries; None for what is drawn with a label.
        inches: between the axes and the legend.
        options: of the legend.
    """
    from matplotlib.transforms import offset_copy

    place = offset_copy(axes.transAxes, axes.figure, y=-inches, units="inches")
    entries = {} if handles is None else {"handles": handles}
    axes.legend(
        **entries, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=place, frameon=False, **options
    )


def hatch_undefined(axes: Any, undefined: Any, **options: Any) -> None:
    """Marks cells of a heat map drawn with ``imshow`` that have no value.

    Args:
        axes: of the heat map.
        undefined: rows and columns of the cells, (n, 2).
        options: of the patches.
    """
    from matplotlib.patches import Rectangle

    for row, column in undefined:
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                **(
                    {"facecolor": "white", "edgecolor": "0.6", "hatch": UNDEFINED_HATCH, "linewidth": 0.3}
                    | options
                ),
            )
        )


def ink_on(value: float | int, low: float | int, high: float | int) -> str:
    """Colour of text on a cell of a sequential heat map that runs from `low` to `high`."""
    return "white" if value < low + 0.55 * (high - low) else "black"


def encode(drawn: Any, kind: str) -> bytes:
    """A figure as the content of a file.

    Args:
        drawn: the figure.
        kind: ``png``, ``pdf`` or ``svg``.
    """
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, metadata=_METADATA[kind])
    return buffer.getvalue()


def file_stem(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._") or "_"


def write(out: Path, stem: str, drawn: Any, vector: str) -> list[Path]:
    """Writes a figure as PNG and as vectors; each file appears whole or not at all.

    Args:
        out: directory; made where absent.
        stem: of the files' names, which may begin with a directory.
        drawn: the figure.
        vector: ``pdf`` or ``svg``.

    Returns:
        The files.
    """
    contents = {out / f"{stem}.{kind}": encode(drawn, kind) for kind in ("png", vector)}
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return list(contents)
