"""F1 of every subject: a heat map of subjects and AUs, and the mean of each subject."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float64

from mdhr_jax.figures import style
from mdhr_jax.training.predictions import Predictions

UNDEFINED_NOTE = (
    "hatched, or white in low rows: undefined, the AU is neither labelled nor predicted present; left out of "
    "the means"
)

_ROW, _HIGHEST = 0.27, 18.0  # inches: a row, all rows
_VALUES = 120  # Percent: right end of the means' column, past 100.
_FITS_TEXT = 0.13  # inches; lower rows are bare colours, and only some have a name


@dataclasses.dataclass(frozen=True)
class SubjectF1:
    """F1 in [0, 1], NaN where undefined.

    Attributes:
        subjects: of the rows, sorted.
        au_names: of the columns.
        f1: over the frames of one subject.
        pooled: over the frames of all, which is what the result of the run has.
        frames: of each subject.
    """

    subjects: tuple[str, ...]
    au_names: tuple[str, ...]
    f1: Float64[np.ndarray, "S N"]
    pooled: Float64[np.ndarray, "N"]
    frames: tuple[int, ...]

    @property
    def means(self) -> Float64[np.ndarray, "S"]:
        """Mean over the AUs in which a subject's F1 is defined; NaN where none is."""
        return _mean_of_defined(self.f1)

    @property
    def pooled_mean(self) -> float:
        """Mean over the AUs with a defined F1 over all frames."""
        return float(_mean_of_defined(self.pooled[None])[0])


def _mean_of_defined(values: Float64[np.ndarray, "S N"]) -> Float64[np.ndarray, "S"]:
    defined = np.isfinite(values)
    return np.where(
        defined.any(1), np.where(defined, values, 0.0).sum(1) / np.maximum(defined.sum(1), 1), np.nan
    )


def subject_f1(predictions: Predictions) -> SubjectF1:
    """F1 of each subject at the predictions' own thresholds.

    Raises:
        ValueError: the predictions hold no frame.
    """
    if not len(predictions.scores):
        raise ValueError("the predictions hold no frame; evaluate the run again with --config.mode=eval")
    names = tuple(predictions.meta["au_names"])
    subjects, row_of_video = np.unique(np.asarray(predictions.subjects), return_inverse=True)
    rows = row_of_video.reshape(-1)[predictions.video]
    predicted = predictions.predicted()
    present, absent = predictions.labels == 1, predictions.labels == 0
    # Twice the true positives; all predicted and all present.
    above, below = (np.zeros((len(subjects), len(names))) for _ in range(2))
    np.add.at(above, rows, 2 * (present & predicted))
    np.add.at(below, rows, ((present | absent) & predicted).astype(np.int64) + present)

    def f1(twice_found: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.where(total > 0, twice_found / np.maximum(total, 1), np.nan)

    return SubjectF1(
        subjects=tuple(subjects.tolist()),
        au_names=names,
        f1=f1(above, below),
        pooled=f1(above.sum(0), below.sum(0)),
        frames=tuple(np.bincount(rows, minlength=len(subjects)).tolist()),
    )


def draw(shown: SubjectF1, footer: str) -> Any:
    """Draws the heat map with the subjects' means beside it.

    Of many subjects the rows are low: without numbers, with some names, and undefined F1 stays white.

    Args:
        shown: what to draw.
        footer: small print.
    """
    count, width = len(shown.subjects), len(shown.au_names)
    row_height = min(_ROW, _HIGHEST / (count + 1))
    written = row_height >= _FITS_TEXT
    title = "F1 of every subject of the test part"
    made = style.figure(4.6 + 0.52 * width, 2.4 + row_height * (count + 1), title, footer)
    heat, strip = made.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [0.52 * width, 3.2]})
    # The pooled row stands apart, below the subjects.
    values = 100 * np.concatenate([shown.f1, shown.pooled[None]])
    # High enough to be read, however low the rows are.
    pooled_height = max(1.0, _ROW / row_height)
    places = [*range(count), count - 0.5 + pooled_height]
    image = heat.imshow(values[:-1], cmap=style.SEQUENTIAL, vmin=0, vmax=100, aspect="auto")
    heat.imshow(
        values[-1:],
        cmap=style.SEQUENTIAL,
        vmin=0,
        vmax=100,
        aspect="auto",
        extent=(-0.5, width - 0.5, places[-1] + 0.5 * pooled_height, places[-1] - 0.5 * pooled_height),
    )
    for row, place in enumerate(places):
        if not written and row < count:
            continue
        for column in range(width):
            value = values[row, column]
            if np.isfinite(value):
                ink = style.ink_on(value, 0, 100)
                heat.text(column, place, f"{value:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
            else:
                style.hatch_undefined(heat, [(place, column)])
    heat.set_xlim(-0.5, width - 0.5)
    heat.set_ylim(places[-1] + 0.5 * pooled_height, -0.5)
    heat.set_xticks(range(width), shown.au_names, rotation=90)
    names = [f"{s} ({n} frames)" for s, n in zip(shown.subjects, shown.frames, strict=True)]
    # As many names as fit, from the first subject on.
    every = 1 if written else int(np.ceil(_FITS_TEXT / row_height))
    heat.set_yticks([*places[:-1:every], places[-1]], [*names[::every], "all frames"], fontsize=7.5)
    heat.tick_params(length=0)
    heat.set_title("F1 of each AU, %")
    heat.set_ylabel("subject")
    made.colorbar(image, ax=heat, orientation="horizontal", shrink=0.6, aspect=40, label="F1, %")

    means = 100 * shown.means
    strip.barh(
        range(count), np.nan_to_num(means), height=0.7, color=style.COLOURS[5], edgecolor=style.COLOURS[0]
    )
    for place, mean in enumerate(means if written else ()):
        text = f"{mean:.1f}" if np.isfinite(mean) else "undefined"
        # In a column of their own, where neither bars nor lines come.
        strip.text(_VALUES, place, text, va="center", ha="right", fontsize=6.5)
    pooled = 100 * shown.pooled_mean
    if np.isfinite(pooled):
        strip.axvline(pooled, color=style.COLOURS[3], linestyle="--", label=f"all frames: {pooled:.1f} %")
    if np.isfinite(means).any():
        middle = float(np.nanmean(means))
        strip.axvline(middle, color="black", linestyle=":", label=f"mean of subjects: {middle:.1f} %")
    strip.set_xlim(0, _VALUES + 1)
    strip.set_xticks(range(0, 101, 20))
    strip.set_xlabel("F1, %")
    strip.set_title("mean over AUs")
    strip.tick_params(axis="y", length=0, labelleft=False)
    style.legend_below(strip, None, 0.45, fontsize=7.5)
    return made
