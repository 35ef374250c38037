"""One run from a configuration: makes synthetic data where asked for, then trains or evaluates."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import distributed
from mdhr_jax.data import own_sets
from mdhr_jax.training import debug, weights, workdir
from mdhr_jax.training.evaluate import evaluate_checkpoint
from mdhr_jax.training.experiment import Experiment, open_experiment
from mdhr_jax.training.interrupt import StopAtOnce, ToldToStop
from mdhr_jax.training.labelled import check_labels
from mdhr_jax.training.loop import train


def run(config: ConfigDict, directory: Path) -> tuple[dict[str, Any], Path] | None:
    """Trains or evaluates what a configuration describes.

    Args:
        config: from one of `configs/`.
        directory: of the run.

    Returns:
        The result (see `mdhr_jax.training.results`) and its file, or None where training was told to stop.

    Raises:
        ValueError, OSError, RuntimeError: with what is wrong and how to mend it.
        ToldToStop: by a signal, in an evaluation or before training has begun.
    """
    with StopAtOnce():
        return _run(config, directory)


def _run(config: ConfigDict, directory: Path) -> tuple[dict[str, Any], Path] | None:
    distributed.start(config, directory)
    distributed.together(lambda: _check(config))
    if "generate" in config.data:
        distributed.take_time()
        distributed.by_first(lambda: generate(config))
    distributed.come_further("opening the data")
    experiment = distributed.together(lambda: open_experiment(config))
    records = (experiment.train_records, experiment.test_records)
    distributed.require_same("data", [found.fingerprint for found in records])
    if config.mode == "eval":
        return evaluate_checkpoint(experiment, directory)
    distributed.together(lambda: _check_start(experiment, directory))
    return train(experiment, directory)


def _check(config: ConfigDict) -> None:
    own_sets.register(config.data.dir, config.dataset)
    config_lib.validate(config)


def _check_start(experiment: Experiment, directory: Path) -> None:
    check_labels(experiment)
    debug.check(experiment.config, experiment.total_steps)
    if not workdir.holds_run(directory):  # A run that goes on has its weights.
        weights.check_config(experiment.config)


def generate(config: ConfigDict) -> None:
    """Writes the synthetic data set that `config.data.generate` describes, unless it is there already.

    In a process of its own, because writing needs TensorFlow and training must not.

    Raises:
        ValueError: it would not be the data set that the run is for.
        RuntimeError: it could not be written, or another data set lies there; the reason has been printed.
    """
    made = f"synthetic_{config.data.generate.like}"
    if config.dataset.lower() != made:
        raise ValueError(
            f"config.dataset is {config.dataset!r}, but config.data.generate.like makes {made!r}; set both "
            "(configs/synthetic.py:like=... does)"
        )
    options = {"out": config.data.dir, **config.data.generate}
    command = [sys.executable, "-m", "mdhr_jax.data.synthetic"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    with subprocess.Popen(command) as process:
        try:
            failed = process.wait()
        except KeyboardInterrupt as error:
            if isinstance(error, ToldToStop):
                process.send_signal(signal.SIGINT)
            process.wait()  # Ctrl-C reaches it too; it then removes what it has half written.
            raise
    if failed:
        raise RuntimeError(f"the synthetic data set could not be made with: {' '.join(command[1:])}")
