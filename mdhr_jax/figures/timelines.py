"""AU timelines of a video: probability, threshold, and what is predicted against what is labelled."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32

from mdhr_jax.figures import style
from mdhr_jax.training.predictions import Predictions

_ROW_INCHES = 0.72
_TRUTH, _PREDICTED = (-0.34, 0.22), (-0.64, 0.22)  # Lower edge and height of the strips.


@dataclasses.dataclass(frozen=True)
class Timeline:
    """A video frame by frame.

    Attributes:
        video, subject: names.
        au_names: of the columns.
        frame_number: in the recording, ascending.
        scores: in [0, 1].
        thresholds: a score that reaches it means present.
        predicted: whether it does.
        labels: 0, 1 or -1 (unknown).
    """

    video: str
    subject: str
    au_names: tuple[str, ...]
    frame_number: Int32[np.ndarray, "F"]
    scores: Float32[np.ndarray, "F N"]
    thresholds: Float32[np.ndarray, "N"]
    predicted: Bool[np.ndarray, "F N"]
    labels: Int8[np.ndarray, "F N"]

    def f1(self, column: int) -> float | None:
        """F1 of an AU in this video, in [0, 1]; None where undefined."""
        known = self.labels[:, column] >= 0
        predicted, present = self.predicted[known, column], self.labels[known, column] == 1
        below = int(predicted.sum() + present.sum())
        return 2 * int((predicted & present).sum()) / below if below else None


def timeline(predictions: Predictions, video: str) -> Timeline:
    """What was predicted of one video.

    Args:
        predictions: of a run.
        video: its name.

    Raises:
        ValueError: there is no such video.
    """
    if video not in predictions.videos:
        raise ValueError(f"there is no video {video!r} among {', '.join(predictions.videos)}")
    number = predictions.videos.index(video)
    taken = predictions.video == number
    names = tuple(predictions.meta["au_names"])
    thresholds = np.asarray([predictions.meta["thresholds"][name] for name in names], np.float32)
    scores = predictions.scores[taken]
    return Timeline(
        video=video,
        subject=predictions.subjects[number],
        au_names=names,
        frame_number=predictions.frame_number[taken],
        scores=scores,
        thresholds=thresholds,
        predicted=scores >= thresholds,
        labels=predictions.labels[taken],
    )


def spans(frame_number: Int32[np.ndarray, "F"], chosen: Bool[np.ndarray, "F"]) -> list[tuple[float, int]]:
    """Runs of chosen frames that follow each other in the recording: start and length on the frame axis.

    A frame covers half a frame to either side of its number.
    """
    rows = np.flatnonzero(chosen)
    breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(frame_number[rows]) != 1)) + 1
    return [(float(frame_number[run[0]]) - 0.5, len(run)) for run in np.split(rows, breaks) if len(run)]


def draw(shown: Timeline, fps: float | None, footer: str) -> Any:
    """Draws a timeline, one row an AU.

    Args:
        shown: what to draw.
        fps: frames per second of the recording, for a second axis; None where not known.
        footer: small print.
    """
    count = len(shown.au_names)
    made = style.figure(
        11, 2.1 + _ROW_INCHES * count, f"Action units of {shown.video} (subject {shown.subject})", footer
    )
    rows = made.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for column, axes in enumerate(rows):
        _draw_row(axes, shown, column)
    first, last = int(shown.frame_number[0]), int(shown.frame_number[-1])
    rows[-1].set_xlim(first - 0.5, last + 0.5)
    rows[-1].set_xlabel("frame number in the recording")
    if fps:
        seconds = rows[0].secondary_xaxis("top", functions=(lambda n: n / fps, lambda s: s * fps))
        seconds.set_xlabel(f"time, s (at {fps:g} frames per second)")
        seconds.tick_params(labelsize=7)
    style.legend_below(rows[-1], _legend(), 0.5, ncols=5, fontsize=8)
    return made


def _draw_row(axes: Any, shown: Timeline, column: int) -> None:
    frames, labels = shown.frame_number, shown.labels[:, column]
    for start, length in spans(frames, np.ones(len(frames), bool)):
        part = (frames > start) & (frames < start + length)
        # A single frame has no line.
        marker = "." if length == 1 else None
        axes.plot(
            frames[part], shown.scores[part, column], color=style.COLOURS[0], linewidth=1.1, marker=marker
        )
    axes.axhline(shown.thresholds[column], color=style.COLOURS[3], linewidth=0.9, linestyle="--")
    axes.axhline(0, color="0.8", linewidth=0.5, zorder=0)
    middle = _TRUTH[0] + _TRUTH[1] / 2
    for start, length in spans(frames, labels == 0):
        axes.plot(
            [start, start + length], [middle, middle], color="0.6", linewidth=0.8, solid_capstyle="butt"
        )
    axes.broken_barh(spans(frames, labels == 1), _TRUTH, facecolors="0.15", linewidth=0)
    axes.broken_barh(
        spans(frames, labels < 0), _TRUTH, facecolors="none", edgecolor="0.7", hatch="xxxx", linewidth=0
    )
    middle = _PREDICTED[0] + _PREDICTED[1] / 2
    for start, length in spans(frames, ~shown.predicted[:, column]):
        axes.plot(
            [start, start + length], [middle, middle], color="0.6", linewidth=0.8, solid_capstyle="butt"
        )
    axes.broken_barh(
        spans(frames, shown.predicted[:, column]), _PREDICTED, facecolors=style.COLOURS[0], linewidth=0
    )
    axes.set_ylim(-0.7, 1.06)
    ticks = (_PREDICTED[0] + _PREDICTED[1] / 2, _TRUTH[0] + _TRUTH[1] / 2, 0, 0.5, 1)
    axes.set_yticks(ticks, ("predicted", "label", "0", "0.5", "1"), fontsize=6)
    axes.tick_params(axis="y", length=2)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.set_ylabel(shown.au_names[column], rotation=0, ha="right", va="center", fontweight="bold")
    f1 = shown.f1(column)
    text = (
        f"F1 {'undefined' if f1 is None else f'{100 * f1:.1f} %'}\nthreshold {shown.thresholds[column]:.3g}"
    )
    axes.text(1.005, 0.6, text, transform=axes.transAxes, fontsize=6.5, va="center")


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=style.COLOURS[0], label="probability"),
        Line2D([], [], color=style.COLOURS[3], linestyle="--", label="threshold"),
        Patch(facecolor="0.15", label="labelled present"),
        Patch(facecolor=style.COLOURS[0], label="predicted present"),
        Patch(facecolor="none", edgecolor="0.7", hatch="xxxx", label="label unknown"),
    ]
