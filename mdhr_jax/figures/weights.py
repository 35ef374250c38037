"""Adaptive weights of the scales over a clip (the paper's Figure 3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdhr_jax.figures import style
from mdhr_jax.figures.network import LookedAt, Network, evenly
from mdhr_jax.figures.runs import NotApplicableError

_MOST_FRAMES = 8
_CELL_INCHES = 1.42
_COVER = 0.72  # Of the face by its weights.


def check(model: Mapping[str, Any]) -> None:
    """Whether a model has such weights.

    Args:
        model: its part of a configuration.

    Raises:
        NotApplicableError: it has not; the message says why.
    """
    scales = model["mfd_scales"]
    if not (model["mfd"] and scales):
        raise NotApplicableError("the model has no multi-scale facial dynamics (MFD)")
    if model["fusion"] != "adaptive":
        raise NotApplicableError(f"its scales are combined by {model['fusion']!r}, without weights")
    if len(scales) < 2:
        raise NotApplicableError(f"it has scale {scales[0]} alone, whose weight is 1 everywhere")


def draw(network: Network, shown: LookedAt, footer: str) -> Any:
    """Faces in the top row, below them the weight map of each scale.

    Args:
        network: that looked.
        shown: what it looked at.
        footer: small print.

    Raises:
        NotApplicableError: the model has no weights.
    """
    weights, scales = shown.scale_weights, network.model.config.mfd_scales
    if weights is None:
        raise NotApplicableError("the model weighs no scales")
    chosen = list(evenly(len(shown.frames), _MOST_FRAMES))
    columns, rows = len(chosen), 1 + len(scales)
    made = style.figure(
        1.7 + _CELL_INCHES * columns,
        1.5 + (_CELL_INCHES + 0.12) * rows,
        f"Adaptive weights of the scales, {shown.video} (subject {shown.subject})",
        footer,
    )
    grid = made.subplots(rows, columns, squeeze=False)
    side = shown.frames.shape[1]
    high = max(0.05 * np.ceil(weights[chosen].max() / 0.05), 0.05)
    image = None
    for column, t in enumerate(chosen):
        axes = grid[0, column]
        axes.imshow(shown.frames[t], extent=(0, side, side, 0))
        present = [n for n, on in zip(network.records.au_set.au_names, shown.predicted[t], strict=True) if on]
        axes.set_title(f"frame {shown.frame_number[t]}", fontsize=8)
        axes.set_xlabel(_wrapped(present), fontsize=6, labelpad=2)
        grey = np.asarray(shown.frames[t], np.float64).mean(-1)
        for row in range(len(scales)):
            axes = grid[row + 1, column]
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=(0, side, side, 0))
            of_scale = weights[t, :, :, row]
            image = axes.imshow(
                of_scale,
                cmap=style.SEQUENTIAL,
                vmin=0,
                vmax=high,
                alpha=_COVER,
                extent=(0, side, side, 0),
                interpolation="nearest",
            )
            axes.set_xlabel(f"mean {of_scale.mean():.2f}", fontsize=6.5, labelpad=1)
    for axes in grid.reshape(-1):
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    grid[0, 0].set_ylabel("face\n(below: AUs\npredicted)", fontsize=8)
    for row, scale in enumerate(scales):
        note = {1: ",\nfinest", 4: ",\ncoarsest"}.get(scale, "")
        grid[row + 1, 0].set_ylabel(f"scale {scale}{note}", fontsize=8)
    height, width = weights.shape[1:3]
    bar = made.colorbar(image, ax=list(grid[1:].reshape(-1)), shrink=0.8, aspect=35, pad=0.01)
    bar.set_label(
        f"weight of the scale, of 1 in all\n"
        f"({height} x {width} positions; equal weights: {1 / len(scales):.2f})"
    )
    bar.ax.axhline(1 / len(scales), color="white", linewidth=1)
    return made


def _wrapped(names: list[str]) -> str:
    """AU names in short lines, without repeating what they have in common."""
    if not names:
        return "none"
    numbers = [name.removeprefix("AU") for name in names]
    lines = [" ".join(numbers[i : i + 7]) for i in range(0, len(numbers), 7)]
    return "AU " + "\n".join(lines)
