"""A picture of how well the faces of a data set are aligned, from its ``alignment.npz``.

Four panels: where the measured points lie in the crops; how restless the crops are from frame to frame,
before and after smoothing; how each video's faces were found; how much the recordings were reduced or
enlarged.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from data_prep import manifest
from mdhr_jax.data import layout
from mdhr_jax.data.alignment_record import CROPPED
from mdhr_jax.faces import measure
from mdhr_jax.faces.aligner import AlignedFrame
from mdhr_jax.faces.alignment import EYE_HEIGHT
from mdhr_jax.faces.detector import POINTS
from mdhr_jax.faces.recipe import AlignmentRecipe

# Of Okabe and Ito (2008): they can be told apart by colour-blind people.
_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00")
# Legends lie below the panels, where they cover nothing.
_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12), "fontsize": 8}
_MOST_POINTS = 20_000
_MOST_VIDEOS = 60


def read(folder: Path) -> dict[str, np.ndarray]:
    """How the faces of a data set were found.

    Args:
        folder: of its records.

    Raises:
        FileNotFoundError: it does not say, for example because its faces were aligned by others.
    """
    path = folder / manifest.ALIGNMENT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there: the data set does not say how its faces were found; "
            "data sets written by data_prep with --raw do"
        )
    with np.load(path) as stored:
        found = dict(stored)
    # Older sets do not say the track.
    found.setdefault("track", np.zeros(len(found["frame_number"]), np.int32))
    return found


def jitter(
    arrays: dict[str, np.ndarray], recipe: AlignmentRecipe
) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, " V"]]:
    """Restlessness of the crops of each video before and after smoothing, in pixels of the crop.

    See `mdhr_jax.faces.measure.jitter`; NaN for videos with too few frames in a row.
    """
    values = []
    for number in range(len(arrays["videos"])):
        rows = np.flatnonzero(arrays["video"] == number)
        # Only frames that follow each other in the recording are compared.
        runs = np.cumsum(np.diff(arrays["frame_number"][rows], prepend=0) != 1)
        # Nor those on either side of a change of the track.
        runs = np.cumsum(np.diff(runs, prepend=0) + (np.diff(arrays["track"][rows], prepend=0) != 0))
        frames = [_frame(arrays, row, run) for row, run in zip(rows.tolist(), runs.tolist(), strict=True)]
        values.append(measure.jitter(frames, recipe))
    before, after = np.array(values, np.float64).reshape(-1, 2).T
    return before, after


def figure(arrays: dict[str, np.ndarray]) -> UInt8[np.ndarray, "H W 3"]:
    """The picture as pixels; see `draw`."""
    canvas = draw(arrays).canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw(arrays: dict[str, np.ndarray]) -> Any:
    """Draws the picture: a Matplotlib figure on a canvas of pixels.

    Raises:
        ImportError: Matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"figures need Matplotlib ({error}): pip install mdhr_jax[figures]") from error
    drawn = Figure(figsize=(13, 10), layout="constrained", dpi=110)
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(2, 2)
    _draw_points(axes[0, 0], arrays)
    _draw_jitter(axes[0, 1], arrays)
    _draw_status(axes[1, 0], arrays)
    _draw_scale(axes[1, 1], arrays)
    return drawn


def _draw_points(axes: Any, arrays: dict[str, np.ndarray]) -> None:
    matrices, points = arrays["matrices"].astype(np.float64), arrays["points"].astype(np.float64)
    places = np.einsum("fij,fpj->fpi", matrices[..., :2], points) + matrices[:, None, :, 2]
    every = max(1, len(places) // _MOST_POINTS)
    for i, (name, colour) in enumerate(zip(POINTS, _COLOURS, strict=False)):
        axes.plot(*places[::every, i].T, ".", color=colour, markersize=2, alpha=0.5, zorder=3)
        axes.plot([], [], "o", color=colour, label=name.replace("_", " "))
    axes.axhline(EYE_HEIGHT * layout.IMAGE_EDGE, color="0.6", linewidth=0.8, label="line of the eyes")
    axes.set(xlim=(0, layout.IMAGE_EDGE), ylim=(layout.IMAGE_EDGE, 0), xlabel="x, pixels", ylabel="y, pixels")
    axes.set_aspect("equal")
    axes.set_title("Measured points in the crops")
    axes.legend(**_BELOW, ncols=3)


def _draw_jitter(axes: Any, arrays: dict[str, np.ndarray]) -> None:
    before, after = jitter(arrays, AlignmentRecipe())
    for values, label, colour in (
        (before, "before smoothing", _COLOURS[5]),
        (after, "after", _COLOURS[0]),
    ):
        values = np.sort(values[np.isfinite(values)])
        if len(values):
            # From 0 on, so that a single video has a line too.
            shares = np.arange(len(values) + 1) / len(values)
            axes.step([values[0], *values], shares, where="post", label=label, color=colour)
            axes.plot(values, shares[1:], ".", color=colour)
    axes.set(
        xlabel="second difference at eyes and mouth, root mean square, pixels of the crop",
        ylabel="share of videos",
    )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.set_title("Unrest of the crops from frame to frame")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**_BELOW, ncols=2)
    else:
        text = "not measured: no three frames in a row have measured points"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center")


def _draw_status(axes: Any, arrays: dict[str, np.ndarray]) -> None:
    """The videos with most frames that no face was measured in."""
    names, statuses = arrays["videos"], arrays["status"]
    kinds = sorted(set(statuses.tolist()), key=lambda s: (s not in CROPPED, s != "detected", s != "tracked"))
    shares = np.array(
        [[(statuses[arrays["video"] == v] == kind).mean() for kind in kinds] for v in range(len(names))]
    )
    measured = shares[:, [i for i, kind in enumerate(kinds) if kind in ("detected", "tracked", "as is")]]
    worst = np.argsort(measured.sum(1), kind="stable")[:_MOST_VIDEOS]
    left = np.zeros(len(worst))
    for i, kind in enumerate(kinds):
        axes.barh(names[worst], shares[worst, i], left=left, label=kind, color=_COLOURS[i % len(_COLOURS)])
        left += shares[worst, i]
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=max(4, min(9, 300 // max(len(worst), 1))))
    more = f", the {len(worst)} worst of {len(names)} videos" if len(worst) < len(names) else ""
    axes.set(xlabel="share of the frames", xlim=(0, 1))
    axes.set_title(f"How faces were found{more}")
    axes.legend(**_BELOW, ncols=4)


def _draw_scale(axes: Any, arrays: dict[str, np.ndarray]) -> None:
    scales = np.hypot(arrays["matrices"][:, 0, 0], arrays["matrices"][:, 0, 1])
    scales = scales[np.isfinite(scales)]
    axes.hist(scales, bins=np.linspace(0, max(2.0, 1.05 * scales.max()), 60), color=_COLOURS[0])
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xlabel="pixels of the crop a pixel of the recording (above 1: enlarged)", ylabel="frames")
    axes.set_title("Scale")


def _frame(arrays: dict[str, np.ndarray], row: int, run: int) -> AlignedFrame:
    matrix, points = arrays["matrices"][row], arrays["points"][row]
    return AlignedFrame(
        index=int(arrays["frame_number"][row]),
        image=None,
        points=points,
        raw_points=points,
        matrix=matrix.astype(np.float64) if np.isfinite(matrix).all() else None,
        status=str(arrays["status"][row]),
        confidence=float(arrays["confidence"][row]),
        other_faces=int(arrays["other_faces"][row]),
        track=run if np.isfinite(points).all() else -1,
    )
