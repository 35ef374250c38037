"""A run as figures see it: its configuration and what it predicted, and the words that name both."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.progress import announce
from mdhr_jax.tables import rows
from mdhr_jax.training import predictions as predictions_lib
from mdhr_jax.training import workdir
from mdhr_jax.training.predictions import Predictions


class NotApplicableError(Exception):
    """A figure shows something that the run's model does not have."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's directory.

    Attributes:
        directory: of the run.
        name: a short one that no other run of the command has.
        config: that it was started with.
    """

    directory: Path
    name: str
    config: Mapping[str, Any]

    @functools.cached_property
    def predictions(self) -> Predictions:
        """What it predicted: its own file, else that of an evaluation of one of its checkpoints.

        Raises:
            FileNotFoundError: there is neither.
            ValueError: the file is damaged.
        """
        own = self.directory / "predictions.npz"
        evaluated = predictions_lib.beside(self.directory / workdir.EVALUATION_FILE)
        if not own.is_file() and evaluated.is_file():
            announce(f"{self.directory} has no predictions of its own; those of {evaluated.name} are drawn")
            return predictions_lib.read(evaluated)
        return predictions_lib.read(own)

    @property
    def model_name(self) -> str:
        """The model by its switches."""
        return rows.model_name(self.config)

    @property
    def identity(self) -> str:
        """What the run is, in letters that a file's name can have; ends with the configuration's hash."""
        config = self.config
        what = f"{str(config['dataset']).lower()}-{self.model_name}-fold{config['fold']}-seed{config['seed']}"
        return f"{what}-{self.protocol}-{config_lib.config_hash(config)[:6]}"

    @property
    def au_set(self) -> facs.AUSet | None:
        """The entry of the AU table; None for a data set whose entry lies only with its records."""
        return facs.AU_SETS.get(str(self.config["dataset"]).lower())

    @property
    def protocol(self) -> str:
        """Under which it was trained; runs from before there was a choice are the paper's."""
        return self.config.get("eval", {}).get("protocol", "paper")

    def footer(self, meta: Mapping[str, Any], *more: str) -> str:
        """Where numbers come from, for the small print of a figure.

        Args:
            meta: of predictions, or of a checkpoint.
            more: further remarks.
        """
        title = facs.AU_SETS[meta["dataset"]].title if meta["dataset"] in facs.AU_SETS else meta["dataset"]
        seed = meta.get("seed", (meta.get("config") or {}).get("seed"))
        parts = (
            f"{title}, fold {meta['fold']}, seed {'unknown' if seed is None else seed}",
            f"protocol {meta.get('protocol', 'paper')}",
            f"checkpoint of step {meta['step']}",
            f"config {meta['config_hash']}",
            self.model_name,
            f"run {self.name}",
            *more,
        )
        return " · ".join(parts)


def open_runs(directories: Sequence[Path]) -> list[Run]:
    """Runs by their directories.

    Raises:
        FileNotFoundError: a directory is not there or holds no run.
        ValueError: a configuration is damaged, or a directory is named twice.
    """
    found = []
    for directory in directories:
        path = directory / workdir.CONFIG_FILE
        if not path.is_file():
            state = "holds no run" if directory.is_dir() else "does not exist"
            raise FileNotFoundError(
                f"{directory} {state}: there is no {path}; name a directory that training wrote"
            )
        config = workdir.read_config(path)
        try:
            rows.model_name(config)
            config_lib.identity(config)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a configuration of this project (lacks {error})") from error
        found.append((directory, config))
    if len({directory.resolve() for directory, _ in found}) < len(found):
        raise ValueError(f"a run is named twice: {', '.join(map(str, directories))}")
    return [
        Run(directory, name, config)
        for (directory, config), name in zip(found, _names(directories), strict=True)
    ]


def _names(directories: Sequence[Path]) -> list[str]:
    """The ends of the paths that tell them apart."""
    parts = [directory.resolve().parts for directory in directories]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(directory) for directory in directories]


def label_changes(labels: np.ndarray, frame_numbers: np.ndarray) -> Int64[np.ndarray, " F"]:
    """How many AUs' labels change from the frame before, which must be the one before in the recording."""
    known = (labels == 0) | (labels == 1)
    changed = np.zeros(labels.shape, bool)
    changed[1:] = (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    changed[1:] &= (np.diff(frame_numbers) == 1)[:, None]
    return changed.sum(1, dtype=np.int64)


def choose_videos(predictions: Predictions, names: Sequence[str]) -> tuple[str, ...]:
    """The videos to show: those named, else the one in which labels change most (of equals the first).

    Raises:
        ValueError: a name is not among the videos predicted.
    """
    if unknown := [name for name in names if name not in predictions.videos]:
        shown = ", ".join(predictions.videos[:12]) + (", ..." if len(predictions.videos) > 12 else "")
        raise ValueError(
            f"video {', '.join(unknown)} is not in the test part of this run, which has "
            f"{len(predictions.videos)} videos: {shown}"
        )
    if names:
        return tuple(dict.fromkeys(names))
    totals = []
    for video in range(len(predictions.videos)):
        taken = predictions.video == video
        totals.append(int(label_changes(predictions.labels[taken], predictions.frame_number[taken]).sum()))
    if not totals:
        raise ValueError("the predictions hold no video; evaluate the run again with --config.mode=eval")
    return (predictions.videos[int(np.argmax(totals))],)
