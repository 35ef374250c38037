"""How often an AU is present while another is: of predictions, of labels, and their difference."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from mdhr_jax.figures import style
from mdhr_jax.training.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class CoOccurrence:
    """P(i | j): the share of the frames with AU j (column) in which AU i (row) is present too.

    NaN where AU j is present in no frame that counts.

    Attributes:
        au_names: of rows and columns.
        truth: of the labels.
        predicted: of the predictions, in the frames in which both AUs are labelled.
    """

    au_names: tuple[str, ...]
    truth: Float64[np.ndarray, "N N"]
    predicted: Float64[np.ndarray, "N N"]

    @property
    def difference(self) -> Float64[np.ndarray, "N N"]:
        """Predicted minus labelled."""
        return self.predicted - self.truth


def conditional(
    present: Bool[np.ndarray, "F N"], known: Bool[np.ndarray, "F N"]
) -> Float64[np.ndarray, "N N"]:
    """P(i | j) over the frames in which both are known.

    Args:
        present: whether an AU is.
        known: whether a frame counts for an AU.
    """
    # Products of zeros and ones in float64 are exact counts.
    there, counts = (present & known).astype(np.float64), known.astype(np.float64)
    both, either = there.T @ there, counts.T @ there
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def cooccurrence(predictions: Predictions) -> CoOccurrence:
    """Of labels and predictions, at the predictions' own thresholds."""
    names = tuple(predictions.meta["au_names"])
    limits = np.asarray([predictions.meta["thresholds"][name] for name in names], np.float32)
    known = predictions.labels >= 0
    return CoOccurrence(
        names,
        conditional(predictions.labels == 1, known),
        conditional(predictions.scores >= limits, known),
    )


def draw(shown: CoOccurrence, footer: str) -> Any:
    """Draws the three matrices side by side, in percent.

    Args:
        shown: what to draw.
        footer: small print.
    """
    count = len(shown.au_names)
    side = 1.6 + 0.37 * count
    made = style.figure(
        3 * side + 1.2, side + 2.3, "Co-occurrence of action units, P(row | column) in %", footer
    )
    # Room between the title, the panels' titles, the labels of the bars and the small print.
    made.get_layout_engine().set(h_pad=0.12)
    panels = made.subplots(1, 3)
    largest = np.nanmax(np.abs(shown.difference), initial=0.0) if np.isfinite(shown.difference).any() else 0.0
    reach = max(10.0, 10 * np.ceil(10 * largest))
    for axes, values, title, colours, limits, label in (
        (panels[0], shown.truth, "labels", style.SEQUENTIAL, (0, 100), "share of the frames, %"),
        (panels[1], shown.predicted, "predictions", style.SEQUENTIAL, (0, 100), "share of the frames, %"),
        (
            panels[2],
            shown.difference,
            "predictions minus labels",
            style.DIVERGING,
            (-reach, reach),
            "difference, percentage points",
        ),
    ):
        image = axes.imshow(100 * values, cmap=colours, vmin=limits[0], vmax=limits[1])
        for (row, column), value in np.ndenumerate(100 * values):
            if np.isfinite(value):
                text = f"{round(value):+d}".replace("+0", "0") if limits[0] else f"{value:.0f}"
                sequential = style.ink_on(value, *limits)
                ink = ("white" if abs(value) > 0.65 * reach else "black") if limits[0] else sequential
                axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=ink)
        style.hatch_undefined(axes, np.argwhere(~np.isfinite(values)))
        axes.set_xticks(range(count), shown.au_names, rotation=90)
        axes.set_yticks(range(count), shown.au_names)
        axes.tick_params(length=0, labelsize=8)
        axes.set_title(title)
        axes.set_xlabel("while this AU is present (j)")
        made.colorbar(image, ax=axes, orientation="horizontal", shrink=0.8, aspect=30, label=label)
    panels[0].set_ylabel("this AU is present too (i)")
    return made


UNDEFINED_NOTE = "hatched: the AU of the column is present in no frame that counts"
