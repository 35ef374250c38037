"""A checkpoint as training saves it, with weights that nobody trained; small enough to compile in seconds."""

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.data.synthetic.generator import SyntheticSpec
from mdhr_jax.training import experiment, results
from mdhr_jax.training.checkpoints import Checkpoints
from tests import tiny

CLIP, SIZE = 4, 64
STEP = 3
AU_SET = facs.get("synthetic_bp4d")


def small_config() -> ConfigDict:
    config = config_lib.base()
    config.dataset = AU_SET.name
    config.model.backbone, config.model.width, config.model.neighbors = "tiny", 8, 2
    config.data.image_size, config.data.clip_length = SIZE, CLIP
    return config


def save_run(workdir: Path, **changes) -> Path:
    """A run's directory with one checkpoint and a result with thresholds of its own."""
    config = small_config()
    params, batch_stats = tiny.weights(config_lib.model_config(config))
    meta = experiment.describe_model(config) | {
        "fold": 1,
        "image_size": SIZE,
        "clip_length": CLIP,
        "crop_recipe": SyntheticSpec().crop_recipe(),
        "config": config_lib.as_json(config),
        "config_hash": config_lib.config_hash(config),
        "protocol": "paper",
        "versions": experiment.versions(),
        "step": STEP,
    }
    meta |= changes
    with Checkpoints(workdir / "checkpoints") as stored:
        stored.save(STEP, {"params": params, "batch_stats": batch_stats}, meta, f1_mean=50.0)
    result = dict.fromkeys(results.RESULT_KEYS) | {
        "step": STEP,
        "config_hash": meta["config_hash"],
        "selection": {"checkpoint": "validation", "thresholds": "validation"},
        "thresholds": {name: 0.3 + 0.02 * i for i, name in enumerate(AU_SET.au_names)},
    }
    (workdir / "result.json").write_text(json.dumps(result))
    return workdir


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"))
