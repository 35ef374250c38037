"""Evaluation: during training, of the checkpoint chosen at the end, and of one from the command line."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int64

from mdhr_jax import compile_cache, distributed, freed_memory, parallel
from mdhr_jax.data.clips import evaluation_windows
from mdhr_jax.data.loader import Batch, eval_batches
from mdhr_jax.data.records import ClipRecords
from mdhr_jax.models.functional import Arrays
from mdhr_jax.progress import Progress, announce
from mdhr_jax.training import checkpoints, predictions, protocols, results, workdir
from mdhr_jax.training.experiment import Experiment
from mdhr_jax.training.metrics import EvalCounts, summarize
from mdhr_jax.training.predictions import Predictions
from mdhr_jax.training.step import EvalStep, jit_eval_step
from mdhr_jax.training.weights import load_alike


class StoppedError(RuntimeError):
    """The process was told to stop, and an evaluation was given up between two batches."""


class Evaluator:
    """Evaluates parameters on videos of an experiment.

    Args:
        experiment: data, model and devices.
        told_to_stop: looked at before each batch; where it is so on one of several processes, all give the
            evaluation up before the same batch and raise `StoppedError`.
    """

    def __init__(self, experiment: Experiment, told_to_stop: Callable[[], bool] = lambda: False):
        self._experiment = experiment
        self._told_to_stop = told_to_stop
        self._step: EvalStep = jit_eval_step(
            experiment.model, experiment.config.data.image_size, experiment.mesh, experiment.states.shardings
        )
        self._compiled = False
        self._gather = parallel.gatherer(experiment.mesh)

    def __call__(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """F1, accuracy and baselines in percent on the videos that choose the checkpoint, threshold 0.5.

        As `metrics.summarize` gives them; only counts leave the devices.

        Raises:
            StoppedError: the process was told to stop.
        """
        experiment = self._experiment
        records = experiment.selection_records
        total, pending = EvalCounts.empty(), None
        with contextlib.closing(self._batches(records, self._windows(records))) as batches:
            for batch in batches:
                del batch["window"]
                placed = parallel.put_batch(batch, experiment.mesh)
                counts, _ = self._evaluate(params, batch_stats, placed)
                # One batch behind: the device computes while the host adds up.
                total = total if pending is None else total.merge(pending.to_host())
                pending = counts
        if pending is not None:
            total = total.merge(pending.to_host())
        return summarize(total, experiment.au_set.au_names)

    def predict(self, records: ClipRecords, params: Arrays, batch_stats: Arrays) -> Predictions:
        """Scores of every frame, on every process, without meta data but the AUs' names.

        Args:
            records: videos of the experiment.
            params, batch_stats: of its model.

        Raises:
            StoppedError: the process was told to stop.
        """
        experiment, windows = self._experiment, self._windows(records)
        length = experiment.config.data.clip_length
        scores = np.full((len(windows), length, experiment.au_set.num_aus), np.nan, np.float32)
        seen = np.zeros(len(windows), bool)

        def take(found: tuple[Any, Any]) -> None:
            # Rows say which window they are: how processes share a batch is the mesh's affair.
            rows, values = self._gather(found)
            scores[rows[rows >= 0]] = values[rows >= 0]
            seen[rows[rows >= 0]] = True

        pending = None
        with contextlib.closing(self._batches(records, windows)) as batches:
            for batch in batches:
                placed = parallel.put_batch(batch, experiment.mesh)
                rows = placed.pop("window")
                values = self._evaluate(params, batch_stats, placed)[1]
                if pending is not None:
                    take(pending)
                pending = rows, values
        if pending is not None:
            take(pending)
        if not seen.all():
            raise RuntimeError(f"{int((~seen).sum())} of {len(windows)} evaluation windows were left out")
        return _in_list_order(records, windows, scores, experiment.au_set.au_names)

    def _evaluate(
        self, params: Arrays, batch_stats: Arrays, placed: dict[str, Any]
    ) -> tuple[EvalCounts, Float[Array, "B T N"]]:
        if not self._compiled:  # All batches have one shape.
            self._step = distributed.compiled(self._step, params, batch_stats, placed)
            self._compiled = True
        distributed.come_further("evaluating")
        found = self._step(params, batch_stats, placed)
        freed_memory.settle()
        return found

    def _windows(self, records: ClipRecords) -> Int64[np.ndarray, "W 3"]:
        return evaluation_windows(records.videos, self._experiment.config.data.clip_length)

    def _batches(
        self, records: ClipRecords, windows: Int64[np.ndarray, "W 3"]
    ) -> Generator[Batch, None, None]:
        """This process's share of batches of windows, with progress shown."""
        experiment, config = self._experiment, self._experiment.config
        batches = eval_batches(
            records,
            windows,
            clip_length=config.data.clip_length,
            batch_size=config.eval.batch_size,
            image_size=config.data.image_size,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
            workers=config.data.workers or None,
            prefetch=config.data.prefetch,
        )
        frames = len(windows) * config.data.clip_length
        label = "validating" if records is experiment.validation_records else "evaluating"
        with batches, Progress(frames, unit="frames", label=label) as progress:
            for batch in batches:
                if distributed.stop_here(self._told_to_stop()):
                    raise StoppedError(f"told to stop while {label}")
                shown = int((batch["window"] >= 0).sum()) * jax.process_count()
                yield batch | {"window": batch["window"].astype(np.int32)}
                progress.update(min(shown * config.data.clip_length, frames - progress.done))


def _in_list_order(
    records: ClipRecords,
    windows: Int64[np.ndarray, "W 3"],
    scores: Float32[np.ndarray, "W T N"],
    au_names: tuple[str, ...],
) -> Predictions:
    """Windows laid end to end, without their padding."""
    lengths = windows[:, 2]
    kept: Bool[np.ndarray, "W T"] = np.arange(scores.shape[1]) < lengths[:, None]
    videos = records.videos
    return Predictions(
        videos=tuple(video.name for video in videos),
        subjects=tuple(video.subject for video in videos),
        video=np.repeat(windows[:, 0], lengths).astype(np.int32),
        frame_number=np.concatenate([video.frame_numbers for video in videos]),
        window=np.repeat(np.arange(len(windows)), lengths).astype(np.int32),
        full_window=lengths == scores.shape[1],
        labels=np.concatenate([video.labels for video in videos]),
        scores=scores[kept],
        meta={"au_names": list(au_names)},
    )


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A checkpoint that is to be reported.

    Attributes:
        params, batch_stats: its weights, on the devices.
        meta: its meta data.
        selection: which frames chose it and the thresholds, see `results.RESULT_KEYS`.
        thresholds: of each AU name.
        validation: F1 of the validation subjects, see `results.RESULT_KEYS`; None where there are none.
    """

    params: Arrays
    batch_stats: Arrays
    meta: Mapping[str, Any]
    selection: Mapping[str, str]
    thresholds: Mapping[str, float]
    validation: Mapping[str, Any] | None


def load(experiment: Experiment, path: Path) -> tuple[Arrays, Arrays, dict[str, Any]]:
    """The weights that a checkpoint was evaluated with, on the experiment's devices, and its meta data.

    Raises:
        ValueError: the checkpoint was made for something else.
        FileNotFoundError: there is no checkpoint.
        TogetherError: processes find other weights at the path.
    """
    abstract = experiment.states.abstract
    like = (abstract.params, abstract.batch_stats)
    experiment.check_metadata(checkpoints.load_weights(path, names=())[1])
    loaded = load_alike(str(path), like=like)
    params, batch_stats = jax.tree.map(parallel.place, (loaded.params, loaded.batch_stats), like)
    return params, batch_stats, loaded.meta


def choose(
    experiment: Experiment, evaluator: Evaluator, weights: tuple[Arrays, Arrays], meta: Mapping[str, Any]
) -> Chosen:
    """The best checkpoint of a run with its thresholds, as the protocol of the run has them.

    Args:
        experiment: of the run.
        evaluator: its evaluator; under the honest protocol it looks at the validation subjects once.
        weights: parameters and statistics of the checkpoint.
        meta: its meta data.
    """
    names = experiment.au_set.au_names
    thresholds = protocols.fixed_thresholds(names)
    if experiment.validation_records is None:
        return Chosen(*weights, meta, {"checkpoint": "test", "thresholds": "fixed"}, thresholds, None)
    validated = evaluator.predict(experiment.validation_records, *weights)
    at_half = summarize(validated.counts(thresholds), names)
    thresholds = protocols.best_thresholds(names, validated.scores, validated.labels)
    at_best = summarize(validated.counts(thresholds), names)
    validation = {
        "f1": at_best["f1"],
        "f1_mean": at_best["f1_mean"],
        "f1_half": at_half["f1"],
        "f1_half_mean": at_half["f1_mean"],
    }
    selection = {"checkpoint": "validation", "thresholds": "validation"}
    return Chosen(*weights, meta, selection, thresholds, validation)


def evaluate_chosen(
    experiment: Experiment,
    evaluator: Evaluator,
    chosen: Chosen,
    *,
    seconds: float | None = None,
    frames_per_second: float | None = None,
) -> tuple[dict[str, Any], Predictions]:
    """Looks at the test part with a checkpoint and its thresholds.

    Args:
        experiment: data, model and devices.
        evaluator: its evaluator.
        chosen: what to look with.
        seconds, frames_per_second: of the run; by default what this evaluation takes.

    Returns:
        The content of ``result.json``, whose F1 and accuracy are counted from the predictions, and these.
    """
    config, meta = experiment.config, chosen.meta
    start = time.monotonic()
    found = evaluator.predict(experiment.test_records, chosen.params, chosen.batch_stats)
    seconds = time.monotonic() - start if seconds is None else seconds
    identity = {
        "dataset": experiment.au_set.name,
        "fold": config.fold,
        "seed": (meta.get("config") or {}).get("seed"),
        "protocol": meta.get("protocol", protocols.PAPER),
        "thresholds": dict(chosen.thresholds),
        "step": meta["step"],
        "config_hash": meta["config_hash"],
    }
    found = dataclasses.replace(
        found,
        meta={
            "format": predictions.FORMAT,
            "au_names": list(experiment.au_set.au_names),
            "data_fingerprint": experiment.test_records.fingerprint,
            **identity,
        },
    )
    result = {
        **identity,
        "selection": dict(chosen.selection),
        "validation_subjects": list(meta.get("validation_subjects", ())),
        **summarize(found.counts(), experiment.au_set.au_names),
        "validation": chosen.validation,
        "num_params": sum(array.size for array in jax.tree.leaves(experiment.states.abstract.params)),
        "seconds": seconds,
        "frames_per_second": len(found.scores) / seconds if frames_per_second is None else frames_per_second,
    }
    return result, found


def evaluate_checkpoint(experiment: Experiment, directory: Path) -> tuple[dict[str, Any], Path]:
    """Evaluates the checkpoint that the config names, or the best one of the directory.

    Thresholds are those in the ``result.json`` of the checkpoint's run, where they were chosen for this very
    checkpoint; 0.5 otherwise. Which they are is told.

    Args:
        experiment: must be what the checkpoint was made for.
        directory: of the run.

    Returns:
        The result and the file it was written to: ``result.json``, or ``result-eval.json`` where the
        directory holds a run, whose own result stays as it is. Predictions lie beside it.

    Raises:
        ValueError: the checkpoint was made for something else.
        FileNotFoundError: there is no checkpoint.
    """
    named = experiment.config.eval.checkpoint
    if not named:
        workdir.check(directory, experiment.config)
    path = Path(named) if named else directory
    distributed.come_further("reading the checkpoint")
    params, batch_stats, meta = load(experiment, path)
    compile_cache.use(experiment.config.compile_cache, directory)
    chosen = Chosen(
        params,
        batch_stats,
        meta,
        {"checkpoint": _chosen_on(path, meta), "thresholds": "fixed"},
        protocols.fixed_thresholds(experiment.au_set.au_names),
        None,
    )
    of_run = results.of_checkpoint(path, meta)
    if of_run is not None:
        chosen = dataclasses.replace(
            chosen,
            selection={**chosen.selection, "thresholds": of_run["selection"]["thresholds"]},
            thresholds=of_run["thresholds"],
            validation=of_run["validation"],
        )
    if meta.get("protocol") == protocols.HONEST:
        announce(
            f"thresholds of step {meta['step']} as its run chose them on the validation subjects"
            if of_run is not None
            else f"threshold 0.5: no run's result.json has thresholds for step {meta['step']} of {path}"
        )
    result, found = evaluate_chosen(experiment, Evaluator(experiment), chosen)
    holds_run = workdir.holds_run(directory)
    path = directory / (workdir.EVALUATION_FILE if holds_run else workdir.RESULT_FILE)
    distributed.come_further("writing the result")
    distributed.by_first(lambda: results.write_result(path, result, found))
    return result, path


def _chosen_on(path: Path, meta: Mapping[str, Any]) -> str:
    """Which frames chose a checkpoint: it is the best one of a run, or somebody named it."""
    if checkpoints.is_step(path) or not meta.get("evaluation"):
        return "named"
    return "validation" if meta.get("protocol") == protocols.HONEST else "test"
