"""Evaluation on the test part of a fold, and of a checkpoint from the command line."""

import time
from pathlib import Path
from typing import Any

import jax

from mdhr_jax import config as config_lib
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
                windows = int(batch.pop("window_valid").sum()) * jax.process_count()
                counts = self._step(params, batch_stats, parallel.put_batch(batch, experiment.mesh))
                # One batch behind: the device computes while the host adds up.
                total = total if pending is None else total.merge(pending.to_host())
                pending = counts
                progress.update(min(windows * config.data.clip_length, frames - progress.done))
        if pending is not None:
            total = total.merge(pending.to_host())
        return summarize(total, experiment.au_set.au_names)


def make_result(
    experiment: Experiment, evaluation: dict[str, Any], *, step: int, seconds: float, frames_per_second: float
) -> dict[str, Any]:
    """The content of ``result.json``."""
    num_params = sum(array.size for array in jax.tree.leaves(experiment.states.abstract.params))
    return {
        "dataset": experiment.au_set.name,
        "fold": experiment.config.fold,
        "protocol": PROTOCOL,
        "step": step,
        "config_hash": config_lib.config_hash(experiment.config),
        **evaluation,
        "num_params": num_params,
        "seconds": seconds,
        "frames_per_second": frames_per_second,
    }


def evaluate_checkpoint(experiment: Experiment, directory: Path) -> dict[str, Any]:
    """Evaluates the checkpoint that the config names, or the best one of the directory.

    Args:
        experiment: must be what the checkpoint was made for.
        directory: of the run.

    Returns:
        The result. It is written to ``result.json`` of the directory, unless a run lies there whose own
        result that is and another checkpoint was asked for.

    Raises:
        ValueError: the checkpoint was made for something else.
        FileNotFoundError: there is no checkpoint.
    """
    named = experiment.config.eval.checkpoint
    path = Path(named) if named else directory
    abstract = experiment.states.abstract
    averaged_or_plain = "ema" if experiment.states.ema else "params"
    like = {averaged_or_plain: abstract.params, "batch_stats": abstract.batch_stats}
    experiment.check_metadata(checkpoints.load_weights(path, names=())[1])
    weights, meta = checkpoints.load_weights(path, names=tuple(like), like=like)

    evaluate = Evaluator(experiment)
    start = time.monotonic()
    placed = jax.device_put(weights, jax.tree.map(lambda array: array.sharding, like))
    evaluation = evaluate(placed[averaged_or_plain], placed["batch_stats"])
    seconds = time.monotonic() - start
    result = make_result(
        experiment,
        evaluation,
        step=meta["step"],
        seconds=seconds,
        frames_per_second=evaluate.num_frames / seconds,
    )
    if not named or not (directory / workdir.CHECKPOINTS).is_dir():
        results.write_result(directory / workdir.RESULT_FILE, result)
    return result
