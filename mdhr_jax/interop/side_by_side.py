"""Trains the reference and our model side by side: same first weights, same clips, same augmentation.

The yardstick for the difference of their curves is a second run of the reference that differs in its seed
(first weights, order of the clips, augmentation). Stochastic depth is off.
"""

import csv
import dataclasses
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mdhr_jax import facs
from mdhr_jax.data import augment, layout
from mdhr_jax.data.clips import ClipStream, evaluation_windows
from mdhr_jax.data.loader import eval_batches, train_batches
from mdhr_jax.data.records import ClipRecords, open_dataset
from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.torch_weights import IMAGE_SIZE
from mdhr_jax.progress import Progress
from mdhr_jax.training.losses import weights_from_rates
from mdhr_jax.training.metrics import EvalCounts, summarize

FOLD = 1
_MAX_ROWS = 25
_UNIT = {"loss": "total loss", "f1": "mean F1 in percent"}


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What is trained and evaluated on.

    Attributes:
        train, test: videos of the fold's parts.
        clip_length: frames of a clip.
        batch_size: clips of a step.
        dtype: number format of the clips.
    """

    train: ClipRecords
    test: ClipRecords
    clip_length: int
    batch_size: int
    dtype: str

    @property
    def au_weights(self) -> Float[np.ndarray, " N"]:
        """Weights of the AUs in the loss."""
        return weights_from_rates(self.train.rates())

    def batches(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Endless normalised clips (B, T, H, W, 3) and labels, cropped, flipped and coloured.

        Raises:
            ValueError: a label is unknown, which the reference cannot train on.
        """
        lengths = [video.num_frames for video in self.train.videos]
        stream = ClipStream(lengths, self.clip_length, seed)
        prepare = jax.jit(functools.partial(augment.augment_clips, image_size=IMAGE_SIZE, dtype=self.dtype))
        with train_batches(self.train, stream, batch_size=self.batch_size, image_size=IMAGE_SIZE) as batches:
            for batch in batches:
                if (batch["labels"] == facs.UNKNOWN).any():
                    raise ValueError(
                        f"{self.train.directory} has unknown labels or videos of fewer than "
                        f"{self.clip_length} frames, which the reference cannot train on"
                    )
                clips = prepare(batch["frames"], batch["offset"], batch["flip"], batch["factors"])
                yield np.asarray(clips), batch["labels"]

    def evaluate(self, predictors: Mapping[str, Callable[[np.ndarray], Any]]) -> dict[str, float]:
        """Mean F1 in percent on the test part.

        Args:
            predictors: functions from clips to scores, of any shape with N last, by name.
        """
        prepare = jax.jit(functools.partial(augment.resize_clips, image_size=IMAGE_SIZE, dtype=self.dtype))
        windows = evaluation_windows(self.test.videos, self.clip_length)
        counts = dict.fromkeys(predictors, EvalCounts.empty())
        with eval_batches(
            self.test,
            windows,
            clip_length=self.clip_length,
            batch_size=self.batch_size,
            image_size=IMAGE_SIZE,
        ) as batches:
            for batch in batches:
                clips, labels = np.asarray(prepare(batch["frames"])), batch["labels"]
                for name, predict in predictors.items():
                    scores = np.asarray(predict(clips)).reshape(labels.shape)
                    found = EvalCounts.from_model_output(
                        scores=scores, labels=labels, valid=batch["frame_valid"]
                    )
                    counts[name] = counts[name].merge(found.to_host())
        names = self.test.au_set.au_names
        return {name: summarize(found, names)["f1_mean"] for name, found in counts.items()}


@contextmanager
def training_data(
    au_set: facs.AUSet, directory: Path | None, *, subjects: int, frames: int, seed: int, **fields: Any
) -> Iterator[TrainingData]:
    """Opens a data set, or draws a synthetic one that is gone afterwards.

    Args:
        au_set: the AUs.
        directory: a data directory with the AUs' own data set or its synthetic likeness; None to draw one.
        subjects: of a set that is drawn, each with one video.
        frames: of each of its videos.
        seed: of its subjects.
        fields: the rest of `TrainingData`.

    Raises:
        ValueError, OSError: there is none, or it cannot be used.
        RuntimeError: it could not be drawn; the reason has been printed.
    """
    synthetic = facs.get(f"synthetic_{au_set.name}")
    with TemporaryDirectory() as scratch:
        kind = synthetic
        if directory is None:
            directory = Path(scratch)
            _draw(directory, au_set.name, subjects, frames, seed)
        else:
            kind = _kind_in(directory, au_set, synthetic)
        train = open_dataset(directory, kind, facs.train_parts(FOLD))
        test = open_dataset(directory, kind, [facs.part_tested(FOLD)])
        yield TrainingData(train, test, **fields)


def _kind_in(directory: Path, own: facs.AUSet, synthetic: facs.AUSet) -> facs.AUSet:
    try:
        layout.find_dataset(directory, synthetic)
    except FileNotFoundError:
        return own
    return synthetic


def _draw(directory: Path, like: str, subjects: int, frames: int, seed: int) -> None:
    # In a process of its own: writing needs TensorFlow.
    options = {
        "out": directory,
        "like": like,
        "subjects": subjects,
        "videos": 1,
        "frames": frames,
        "seed": seed,
    }
    command = [sys.executable, "-m", "mdhr_jax.data.synthetic"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise RuntimeError(f"the synthetic data set could not be made with: {' '.join(command[1:])}")


@dataclasses.dataclass(frozen=True)
class Trainee:
    """A model in training.

    Attributes:
        step: from normalised clips (B, T, H, W, 3) and labels to the total loss before the update.
        predict: from clips to scores, N last.
    """

    step: Callable[[np.ndarray, np.ndarray], float]
    predict: Callable[[np.ndarray], Any]


@dataclasses.dataclass(frozen=True)
class Curves:
    """Loss of every step and F1 after some; absent where not measured.

    Attributes:
        loss, f1: by the number of steps done (a step's loss is that before its update), then by run:
            ``reference``, ``ours``, ``other_seed``.
    """

    loss: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    f1: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)

    def rows(self) -> list[dict[str, float | int | None]]:
        """One row a step, as the CSV file has it."""
        return [
            {"step": step, **self._columns("loss", step), **self._columns("f1", step)}
            for step in sorted({*self.loss, *self.f1})
        ]

    def _columns(self, kind: str, step: int) -> dict[str, float | None]:
        found = getattr(self, kind).get(step, {})
        reference = found.get("reference")

        def away(run: str) -> float | None:
            return None if run not in found or reference is None else abs(found[run] - reference)

        return {
            f"{kind}_reference": reference,
            f"{kind}_ours": found.get("ours"),
            f"{kind}_difference": away("ours"),
            f"{kind}_other_seed": found.get("other_seed"),
            f"{kind}_seed_spread": away("other_seed"),
        }

    def tables(self) -> list[Table]:
        """A summary, and the curves (at most some 25 of their steps)."""
        rows, summary = self.rows(), []
        for kind, unit in _UNIT.items():
            cells = []
            for column in (f"{kind}_difference", f"{kind}_seed_spread"):
                values = [value for row in rows if (value := row[column]) is not None]
                cells += [f"{np.mean(values):.2e}", f"{np.max(values):.2e}"] if values else ["-", "-"]
            summary.append((unit, *cells, ""))
        titles = ("", "ours, mean", "ours, largest", "other seed, mean", "other seed, largest", "")
        steps = sorted(self.f1) if len(rows) > _MAX_ROWS else [int(row["step"] or 0) for row in rows]
        shown = [row for row in rows if row["step"] in steps]
        columns = tuple(shown[0]) if shown else ()
        cells_of = [tuple("" if v is None else f"{v:.6g}" for v in row.values()) for row in shown]
        return [
            Table("Training: distance from the reference", titles, tuple(summary)),
            Table("Training: curves", columns, tuple(cells_of), ("f1 in percent, after the step",)),
        ]

    def write_csv(self, path: Path) -> None:
        """All rows, with empty cells where nothing was measured; takes the place of an older file whole."""
        rows = self.rows()
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def run(
    trainees: Mapping[str, Trainee],
    data: TrainingData,
    curves: Curves,
    *,
    steps: int,
    every: int,
    seed: int,
    label: str,
    measured: Callable[[], None],
) -> None:
    """Trains and evaluates some models on the same clips, step by step; adds to the curves.

    Args:
        trainees: by the name of their curves.
        data: what to train on.
        curves: get what is measured.
        steps: of the training.
        every: steps between evaluations; there is one at the start and one at the end too.
        seed: of the clips.
        label: what is being done.
        measured: called after every evaluation.
    """
    predictors = {name: trainee.predict for name, trainee in trainees.items()}

    def evaluate(step: int) -> None:
        curves.f1.setdefault(step, {}).update(data.evaluate(predictors))
        measured()

    with Progress(steps, unit="steps", label=label) as progress:
        evaluate(0)
        for step, (clips, labels) in zip(range(1, steps + 1), data.batches(seed), strict=False):
            found = {name: trainee.step(clips, labels) for name, trainee in trainees.items()}
            curves.loss.setdefault(step, {}).update(found)
            if step % every == 0 or step == steps:
                evaluate(step)
            progress.update(note="loss " + ", ".join(f"{loss:.4f}" for loss in found.values()))
