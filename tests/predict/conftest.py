"""A checkpoint as training saves it, with weights that nobody trained; small enough to compile in seconds."""

import json
from pathlib import Path

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.training import results
from mdhr_jax.training.checkpoints import Checkpoints
from mdhr_jax.training.experiment import Experiment, open_experiment
from tests import tiny

CLIP, SIZE = 4, 64


@pytest.fixture(scope="session")
def experiment(synthetic_data: Path) -> Experiment:
    config = config_lib.base()
    config.dataset = "synthetic_bp4d"
    config.data.dir = str(synthetic_data)
    config.model.backbone, config.model.width, config.model.neighbors = "tiny", 8, 2
    config.data.image_size, config.data.clip_length = SIZE, CLIP
    return open_experiment(config)


def save_run(workdir: Path, experiment: Experiment, **changes) -> Path:
    """A run's directory with one checkpoint and a result with thresholds of its own."""
    params, batch_stats = tiny.weights(experiment.model.config)
    meta = experiment.metadata() | {"step": 3, "evaluation": {}} | changes
    with Checkpoints(workdir / "checkpoints") as stored:
        stored.save(3, {"params": params, "batch_stats": batch_stats}, meta, f1_mean=50.0)
    names = experiment.au_set.au_names
    result = dict.fromkeys(results.RESULT_KEYS) | {
        "step": 3,
        "config_hash": meta["config_hash"],
        "selection": {"checkpoint": "validation", "thresholds": "validation"},
        "thresholds": {name: 0.3 + 0.02 * i for i, name in enumerate(names)},
    }
    (workdir / "result.json").write_text(json.dumps(result))
    return workdir


@pytest.fixture(scope="session")
def run(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"), experiment)
