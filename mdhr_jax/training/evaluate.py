"""Evaluation on the test part of a fold, and of a checkpoint from the command line."""

import time
from pathlib import Path
from typing import Any

import jax

from mdhr_jax import parallel
from mdhr_jax.data.clips import evaluation_windows
from mdhr_jax.data.loader import eval_batches
from mdhr_jax.models.functional import Arrays
from mdhr_jax.progress import Progress
from mdhr_jax.training import checkpoints, results, workdir
from mdhr_jax.training.experiment import PROTOCOL, Experiment
from mdhr_jax.training.metrics import EvalCounts, summarize
from mdhr_jax.training.step import EvalStep, jit_eval_step


class Evaluator:
    """Evaluates parameters on the test part of an experiment's fold.

    Args:
        experiment: data, model and devices.
    """

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        config = experiment.config
        self._windows = evaluation_windows(experiment.test_records.videos, config.data.clip_length)
        self._step: EvalStep = jit_eval_step(
            experiment.model, config.data.image_size, experiment.mesh, experiment.states.shardings
        )

    @property
    def num_frames(self) -> int:
        """Labelled frames that one evaluation looks at."""
        return self._experiment.test_records.num_frames

    def __call__(self, params: Arrays, batch_stats: Arrays) -> dict[str, Any]:
        """F1, accuracy and baselines in percent, as `metrics.summarize` gives them."""
        experiment, config = self._experiment, self._experiment.config
        total, pending = EvalCounts.empty(), None
        batches = eval_batches(
            experiment.test_records,
            self._windows,
            clip_length=config.data.clip_length,
            batch_size=config.eval.batch_size,
            image_size=config.data.image_size,
            host_index=jax.process_index(),
            host_count=jax.process_count(),
            workers=config.data.workers or None,
            prefetch=config.data.prefetch,
        )
        frames = len(self._windows) * config.data.clip_length
        with batches, Progress(frames, unit="frames", label="evaluating") as progress:
            for batch in batches:
                windows = int((batch.pop("window") >= 0).sum()) * jax.process_count()
                counts = self._step(params, batch_stats, parallel.put_batch(batch, experiment.mesh))
                # One batch behind: the device computes while the host adds up.
                total = total if pending is None else total.merge(pending.to_host())
                pending = counts
                progress.update(min(windows * config.data.clip_length, frames - progress.done))
        if pending is not None:
            total = total.merge(pending.to_host())
        return summarize(total, experiment.au_set.au_names)


def make_result(
    experiment: Experiment,
    evaluation: dict[str, Any],
    *,
    step: int,
    config_hash: str,
    seconds: float,
    frames_per_second: float,
) -> dict[str, Any]:
    """The content of ``result.json``; step and hash are those of the checkpoint that was evaluated."""
    num_params = sum(array.size for array in jax.tree.leaves(experiment.states.abstract.params))
    return {
        "dataset": experiment.au_set.name,
        "fold": experiment.config.fold,
        "protocol": PROTOCOL,
        "step": step,
        "config_hash": config_hash,
        **evaluation,
        "num_params": num_params,
        "seconds": seconds,
        "frames_per_second": frames_per_second,
    }


def evaluate_checkpoint(experiment: Experiment, directory: Path) -> tuple[dict[str, Any], Path]:
    """Evaluates the checkpoint that the config names, or the best one of the directory.

    Args:
        experiment: must be what the checkpoint was made for.
        directory: of the run.

    Returns:
        The result and the file it was written to: ``result.json``, or ``result-eval.json`` where the
        directory holds a run, whose own result stays as it is.

    Raises:
        ValueError: the checkpoint was made for something else.
        FileNotFoundError: there is no checkpoint.
    """
    named = experiment.config.eval.checkpoint
    if not named:
        workdir.check(directory, experiment.config)
    path = Path(named) if named else directory
    abstract = experiment.states.abstract
    like = (abstract.params, abstract.batch_stats)
    experiment.check_metadata(checkpoints.load_weights(path, names=())[1])
    *weights, meta = checkpoints.load_model(path, like=like)

    evaluate = Evaluator(experiment)
    start = time.monotonic()
    evaluation = evaluate(*jax.device_put(tuple(weights), jax.tree.map(lambda array: array.sharding, like)))
    seconds = time.monotonic() - start
    result = make_result(
        experiment,
        evaluation,
        step=meta["step"],
        config_hash=meta["config_hash"],
        seconds=seconds,
        frames_per_second=evaluate.num_frames / seconds,
    )
    holds_run = workdir.holds_run(directory)
    path = directory / (workdir.EVALUATION_FILE if holds_run else workdir.RESULT_FILE)
    results.write_result(path, result)
    return result, path
