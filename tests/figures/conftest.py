"""Runs to draw: one with a checkpoint and real predictions, and predictions made up by hand."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax.figures import style
from mdhr_jax.training import logs, predictions, workdir
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.evaluate import evaluate_checkpoint
from mdhr_jax.training.experiment import open_experiment
from tests import tiny

AU_NAMES = ("AU1", "AU6", "AU12")
STEP = 10


def small_config(data: Path) -> ConfigDict:
    config = config_lib.base()
    config.dataset = "synthetic_bp4d"
    config.data.dir = str(data)
    config.model.backbone, config.model.width, config.model.neighbors = "tiny", 8, 2
    config.data.image_size, config.data.clip_length = 64, 8
    return config


def write_config(directory: Path, config: ConfigDict) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    workdir.write_json(directory / workdir.CONFIG_FILE, config_lib.as_json(config))


def write_log(directory: Path, *, seed: int = 0, region: float = 1.0, kind="eval") -> None:
    rng = np.random.default_rng(seed)
    with logs.RunLog(directory, AU_NAMES) as log:
        for step in (2, 4, 6, 8, 10):
            loss = 1 / step + rng.random() / 10
            values = {"loss": loss, "au_loss": loss / 2, "region_loss": region * loss}
            log.write("train", step, values | {"learning_rate": 0.1 / step})
            if step % 5 == 0 or step == 4:
                log.write(kind, step, {"f1_mean": 10.0 * step})


def made_up(meta=(), **changes) -> predictions.Predictions:
    """Three videos of two subjects, 12 frames each; the second has a jump, and some labels are unknown."""
    rng = np.random.default_rng(1)
    numbers = [*range(1, 13), *range(1, 7), *range(20, 26), *range(5, 17)]
    labels = rng.integers(-1, 2, (36, 3)).astype(np.int8)
    labels[12:24, 2] = 0
    scores = rng.random((36, 3), np.float32)
    scores[12:24, 2] = 0.1
    fields = {
        "videos": ("B_T1", "A_T1", "B_T2"),
        "subjects": ("B", "A", "B"),
        "video": np.repeat([0, 1, 2], 12).astype(np.int32),
        "frame_number": np.asarray(numbers, np.int32),
        "window": np.repeat([0, 1, 2, 3, 4, 5], 6).astype(np.int32),
        "full_window": np.ones(6, bool),
        "labels": labels,
        "scores": scores,
    } | changes
    thresholds = dict(zip(AU_NAMES, (0.5, 0.25, 0.75), strict=True))
    known = {
        "format": predictions.FORMAT,
        "dataset": "synthetic_bp4d",
        "fold": 1,
        "seed": 0,
        "au_names": list(AU_NAMES),
        "step": STEP,
        "config_hash": "0123456789ab",
        "protocol": "honest",
        "thresholds": thresholds,
        "data_fingerprint": "f",
    }
    return predictions.Predictions(**fields, meta=known | dict(meta))


@pytest.fixture(autouse=True)
def settings():
    with style.settings():
        yield


@pytest.fixture
def paper_run(tmp_path) -> Path:
    """A run that has predictions and a log, and neither checkpoint nor data."""
    directory = tmp_path / "models" / "fold1-seed0-honest"
    write_config(directory, small_config(tmp_path / "nowhere"))
    (directory / "predictions.npz").write_bytes(predictions.encode(made_up()))
    write_log(directory)
    return directory


@pytest.fixture(scope="session")
def _evaluated(synthetic_data, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("evaluated") / "run"
    config = small_config(synthetic_data)
    experiment = open_experiment(config)
    params, batch_stats = tiny.weights(config_lib.model_config(config))
    state = {"params": params, "batch_stats": batch_stats}
    with Checkpoints(directory / workdir.CHECKPOINTS) as stored:
        stored.save(STEP, state, experiment.metadata() | {"step": STEP}, 50.0)
    evaluate_checkpoint(experiment, directory)
    write_config(directory, config)
    write_log(directory)
    return directory


@pytest.fixture
def whole_run(_evaluated, tmp_path) -> Path:
    """A copy of a run with a checkpoint, evaluated by the project itself on synthetic faces."""
    return Path(shutil.copytree(_evaluated, tmp_path / "whole"))


@pytest.fixture
def changed_config():
    """Rewrites a run's configuration."""

    def change(directory: Path, **model) -> None:
        content = copy.deepcopy(workdir.read_config(directory / workdir.CONFIG_FILE))
        content["model"] |= model
        workdir.write_json(directory / workdir.CONFIG_FILE, content)

    return change
