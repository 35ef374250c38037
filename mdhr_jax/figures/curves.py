"""Learning curves of one or more runs: losses, F1 on the frames that choose the checkpoint, learning rate."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from mdhr_jax import config as config_lib
from mdhr_jax.figures import style
from mdhr_jax.figures.runs import Run
from mdhr_jax.training import logs, workdir

Series = tuple[Int64[np.ndarray, "_"], Float64[np.ndarray, "_"]]

_BESIDE = 8  # Names of more runs than these stand below the panels, in columns.
_COLUMNS = 3

TRAINED = {
    "loss": "Training loss, total",
    "au_loss": "Training loss of the AUs",
    "region_loss": "Training loss of the region classifiers",
    "learning_rate": "Learning rate",
}
"""Entries of the log's lines on training that are drawn."""


@dataclasses.dataclass(frozen=True)
class Curves:
    """What the log of a run holds.

    Attributes:
        name: of the run.
        config_hash: of its configuration.
        train: steps and values of each of `TRAINED`; values that the log could not hold are NaN. Without
            region classifiers there are none of their loss.
        f1: steps and mean F1 in percent of the evaluations that choose the checkpoint.
        chosen_on: ``test`` or ``validation``: the frames of those evaluations.
        chosen_step: of the checkpoint that the run reports; None while it has no result.
    """

    name: str
    config_hash: str
    train: Mapping[str, Series]
    f1: Series
    chosen_on: str
    chosen_step: int | None

    @property
    def begun(self) -> bool:
        """Whether anything is logged."""
        return any(len(steps) for steps, _ in (*self.train.values(), self.f1))


def curves(run: Run) -> Curves:
    """Reads the log of a run; a run that has logged nothing yet has empty curves.

    Raises:
        ValueError: the result is damaged.
    """
    try:
        lines = logs.read_log(run.directory)
    except FileNotFoundError:
        lines = []
    train = [line for line in lines if line["kind"] == "train"]
    chosen_on = "validation" if any(line["kind"] == "validation" for line in lines) else "test"
    kind = "validation" if chosen_on == "validation" else "eval"
    tested = [line for line in lines if line["kind"] == kind]
    finished = (run.directory / workdir.RESULT_FILE).is_file()
    step = None
    if finished:
        # A result of an older version still knows its step.
        path = run.directory / workdir.RESULT_FILE
        step = workdir.read_config(path).get("step")
        if not isinstance(step, int):
            raise ValueError(
                f"{path} names no step; the run's own command writes it anew from its checkpoints"
            )
    trained = {name: _series(train, name) for name in TRAINED}
    if not trained["region_loss"][1].any():
        # The log says 0 where there is nothing that could have a loss.
        trained["region_loss"] = _series([], "region_loss")
    return Curves(
        name=run.name,
        config_hash=config_lib.config_hash(run.config),
        train=trained,
        f1=_series(tested, "f1_mean"),
        chosen_on=chosen_on,
        chosen_step=step,
    )


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> Series:
    found = [(line["step"], line[name]) for line in lines if name in line]
    values = [np.nan if value is None else value for _, value in found]
    return np.asarray([step for step, _ in found], np.int64), np.asarray(values, np.float64)


def draw(shown: Sequence[Curves], footer: str) -> Any:
    """Draws the curves of some runs over each other.

    Args:
        shown: of each run.
        footer: small print.

    Raises:
        FileNotFoundError: none of them has logged anything.
    """
    if not any(of_run.begun for of_run in shown):
        names = ", ".join(of_run.name for of_run in shown)
        raise FileNotFoundError(
            f"{names}: no line in {logs.FILE_NAME} yet; wait until the run has logged one"
        )
    from matplotlib.lines import Line2D

    beside = len(shown) <= _BESIDE
    below = 0.0 if beside else 0.3 * math.ceil((len(shown) + 1) / _COLUMNS)
    height = 6.6 + (0.17 * len(shown) if beside else below)
    made = style.figure(12, height, "Learning curves", footer, footer_apart=not beside)
    panels = made.subplots(2, 3).reshape(-1)
    for axes, (name, title) in zip(panels, TRAINED.items(), strict=False):
        for i, of_run in enumerate(shown):
            axes.plot(*of_run.train[name], **_look(i), linewidth=1.2)
        axes.set_title(title)
        if not any(len(of_run.train[name][0]) for of_run in shown):
            text = "no region classifiers" if name == "region_loss" else "nothing logged"
            axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=style.FAINT)
        axes.set_ylabel("learning rate" if name == "learning_rate" else "loss")
        axes.set_ylim(bottom=0)
    f1 = panels[4]
    for i, of_run in enumerate(shown):
        steps, values = of_run.f1
        f1.plot(steps, values, **_look(i), linewidth=1.2, marker="o", markersize=3)
        at = np.flatnonzero(steps == of_run.chosen_step)
        if len(at):
            f1.plot(
                steps[at],
                values[at],
                marker="*",
                markersize=13,
                color=_look(i)["color"],
                markeredgecolor="black",
                linestyle="",
                clip_on=False,
                zorder=4,
            )
    on = {of_run.chosen_on for of_run in shown if of_run.begun}
    words = {"test": "the test part", "validation": "validation subjects"}
    f1.set_title(f"Mean F1 on {' or '.join(words[name] for name in sorted(on))}")
    f1.set_ylabel("mean F1 over AUs, %")
    for axes in panels[:5]:
        axes.set_xlabel("optimiser steps")
        axes.set_xlim(left=0)
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
    handles = [
        Line2D([], [], **_look(i), label=_label(of_run, many=len(on) > 1)) for i, of_run in enumerate(shown)
    ]
    handles.append(
        Line2D(
            [],
            [],
            marker="*",
            linestyle="",
            markersize=11,
            color="white",
            markeredgecolor="black",
            label="checkpoint that is reported",
        )
    )
    panels[5].axis("off")
    shape: dict[str, Any] = {"handles": handles, "fontsize": 7.5, "handlelength": 3}
    if beside:
        panels[5].legend(loc="upper left", frameon=False, **shape)
    else:
        style.legend_of_all(made, ncols=_COLUMNS, **shape)
    return made


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of the lines of a run."""
    colours, dashes = len(style.COLOURS), len(style.LINES)
    return {
        "color": style.COLOURS[number % colours],
        # Dashes move on with each round of the colours, so that colours times dashes are all different.
        "linestyle": style.LINES[(number % colours + number // colours) % dashes],
    }


def _label(of_run: Curves, *, many: bool) -> str:
    state = "not finished" if of_run.chosen_step is None else f"reports step {of_run.chosen_step}"
    state = state if of_run.begun else "nothing logged yet"
    return f"{of_run.name}\n{state}, config {of_run.config_hash}" + (
        f", F1 on the {of_run.chosen_on} frames" if many else ""
    )
