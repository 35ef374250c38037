"""The configuration of a small experiment."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib


@pytest.fixture
def config(synthetic_data: Path) -> ConfigDict:
    """Of a narrow model on the synthetic data set."""
    config = config_lib.base()
    config.dataset = "synthetic_bp4d"
    config.data.dir = str(synthetic_data)
    config.model.backbone, config.model.width = "tiny", 8
    config.data.image_size, config.data.clip_length = 64, 4
    return config
