"""A checkpoint as training saves it, with weights that nobody trained; small enough to compile in seconds."""

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.data import own_sets
from mdhr_jax.data.synthetic.generator import SyntheticSpec
from mdhr_jax.training import experiment, results
from mdhr_jax.training.checkpoints import Checkpoints
from tests import tiny
from tests.predict import looks

CLIP, SIZE = 4, 64
STEP = 3
AU_SET = tiny.TWO_AUS


def small_config(au_set: facs.AUSet = AU_SET) -> ConfigDict:
    """Of a model with every module."""
    config = config_lib.base()
    config.dataset = au_set.name
    config.model.backbone, config.model.width, config.model.neighbors = "tiny", 8, 2
    config.model.mfd_scales = (2, 4)
    config.data.image_size, config.data.clip_length = SIZE, CLIP
    return config


def save_run(workdir: Path, au_set: facs.AUSet = AU_SET, **changes) -> Path:
    """A run's directory with one checkpoint and a result with thresholds of its own."""
    config = small_config(au_set)
    facs.register(au_set)
    params, batch_stats = tiny.weights(config_lib.model_config(config))
    meta = experiment.describe_model(config) | {
        own_sets.ENTRY_KEY: own_sets.to_json(au_set),
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
        "thresholds": thresholds(au_set),
    }
    (workdir / "result.json").write_text(json.dumps(result))
    return workdir


def thresholds(au_set: facs.AUSet = AU_SET) -> dict[str, float]:
    """Of that result."""
    return {name: 0.3 + 0.25 * i for i, name in enumerate(au_set.au_names)}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def made(run: Path, tmp_path_factory: pytest.TempPathFactory) -> looks.Made:
    """Tables, overlays and pages of several recordings."""
    return looks.make(tmp_path_factory.mktemp("looks"), run)
