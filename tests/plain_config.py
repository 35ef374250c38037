"""A configuration of data that are there already."""

from mdhr_jax import config as config_lib


def get_config():
    config = config_lib.base()
    config.dataset = "synthetic_bp4d"
    config.model.backbone, config.model.width = "tiny", 8
    config.data.image_size, config.data.clip_length = 64, 4
    return config
