"""Runs as training leaves them, by the project's own writers; what they predict needed no training."""

import dataclasses
import json

import numpy as np

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.tables import plan, rows, state
from mdhr_jax.training import predictions, protocols, results, workdir
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.metrics import summarize
from mdhr_jax.training.predictions import Predictions

LENGTH = 8
FINGERPRINT = "ab" * 32


def config_of(table, row, *, fold=1, seed=0, scale="laptop", protocol="paper", **changes):
    """What the command of the tables would train; `changes` are keys with two underscores for a dot."""
    argument = f"table={table},row={row},fold={fold},seed={seed},scale={scale}"
    options = [f"--config.eval.protocol={protocol}"]
    if scale == "full":
        options.append("--config.model.pretrained=weights/resnet50")
    options += [f"--config.{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return plan.load_config(plan.config_file(), argument, options)


def predict(au_set, *, fold=1, seed=0, skill=1.0, subjects=5, windows=3, unknown=0.05, never=()):
    """Predictions on a fold's subjects: labels are the fold's, scores the better the more skill.

    Subjects are unlike each other, the last window of each is short, and some labels are unknown. AUs of
    `never` are neither present nor predicted.
    """
    labels_of = np.random.default_rng([fold, 1])
    scores_of = np.random.default_rng([fold, seed, round(100 * (skill + 1)), 2])
    lengths = np.tile([LENGTH] * (windows - 1) + [LENGTH // 2], subjects)
    frames, per_subject = int(lengths.sum()), LENGTH * (windows - 1) + LENGTH // 2
    n = au_set.num_aus
    rates = labels_of.uniform(0.2, 0.7, (subjects, n)).repeat(per_subject, 0)
    steady = labels_of.random((frames // 2, n)).repeat(2, 0)
    labels = (steady < rates).astype(np.int8)
    difficulty = labels_of.uniform(0.2, 1.5, (subjects, n)).repeat(per_subject, 0)
    signal = skill * difficulty * (labels - 0.5) + scores_of.normal(size=(frames, n))
    scores = (1 / (1 + np.exp(-signal))).astype(np.float32)
    labels[labels_of.random((frames, n)) < unknown] = facs.UNKNOWN
    for column in never:
        labels[:, column] = np.minimum(labels[:, column], 0)
        scores[:, column] = 0.25
    names = tuple(f"S{fold}{i:02d}" for i in range(subjects))
    return Predictions(
        videos=tuple(f"{name}_T1" for name in names),
        subjects=names,
        video=np.repeat(np.arange(subjects), per_subject).astype(np.int32),
        frame_number=np.tile(np.arange(1, per_subject + 1), subjects).astype(np.int32),
        window=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        full_window=lengths == LENGTH,
        labels=labels,
        scores=scores,
        meta={"au_names": list(au_set.au_names)},
    )


def start(directory, config):
    """A run that has its configuration and nothing else."""
    directory.mkdir(parents=True, exist_ok=True)
    workdir.write_json(directory / workdir.CONFIG_FILE, config_lib.as_json(config))
    return directory


def save(directory, config, step=40, **meta):
    """A stored step."""
    with Checkpoints(directory / workdir.CHECKPOINTS, keep=2) as checkpoints:
        stored = {"config_hash": config_lib.config_hash(config), "versions": {"mdhr_jax": "0.1.0"}} | meta
        checkpoints.save(step, {"step": np.int32(step)}, stored, 50.0)


def result_of(config, found, *, step=40):
    """A result as `mdhr_jax.training.evaluate` makes it, and its predictions with their meta data."""
    names = list(facs.get(config.dataset).au_names)
    honest = config.eval.protocol == protocols.HONEST
    thresholds = dict.fromkeys(names, 0.375 if honest else 0.5)
    identity = {
        "dataset": config.dataset.lower(),
        "fold": config.fold,
        "seed": config.seed,
        "protocol": config.eval.protocol,
        "thresholds": thresholds,
        "step": step,
        "config_hash": config_lib.config_hash(config),
    }
    meta = {"format": predictions.FORMAT, "au_names": names, "data_fingerprint": FINGERPRINT, **identity}
    found = dataclasses.replace(found, meta=meta | {k: v for k, v in found.meta.items() if k not in meta})
    chosen = "validation" if honest else "test"
    return {
        **identity,
        "selection": {"checkpoint": chosen, "thresholds": "validation" if honest else "fixed"},
        "validation_subjects": ["S900"] if honest else [],
        **summarize(found.counts(), names),
        "validation": None,
        "num_params": 7,
        "seconds": 1.0,
        "frames_per_second": 2.0,
    }, found


def finish(directory, config, **options):
    """A finished run; `options` are those of `predict`."""
    start(directory, config)
    options = {"fold": config.fold, "seed": config.seed} | options
    result, found = result_of(config, predict(facs.get(config.dataset), **options))
    results.write_result(directory / workdir.RESULT_FILE, result, found)
    return directory


def fail(directory, config, reason="exit code 3"):
    """A run that the command of the tables saw fail."""
    start(directory, config)
    (directory / state.FAILURE_FILE).write_text(json.dumps({"reason": reason}))
    return directory


def directory_of(root, config):
    """Where the command of the tables puts a run."""
    name = f"fold{config.fold}-seed{config.seed}-{config.eval.protocol}"
    return root / config.dataset / rows.model_name(config) / name
