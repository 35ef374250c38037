"""MDHR on synthetic faces, without any licensed data.

    python -m mdhr_jax.main --config configs/synthetic.py
    python -m mdhr_jax.main --config configs/synthetic.py:like=disfa,fold=2,backbone=resnet18

The data set is made at the first start (``data.generate``). ``like`` chooses the AUs: ``bp4d`` (12) or
``disfa`` (8).
"""

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib


def get_config(argument: str | None = None) -> ConfigDict:
    config = config_lib.base()
    config.data.generate = ConfigDict(
        {
            "like": "bp4d",
            "preset": "easy",
            "seed": 0,
            "subjects": 60,
            "videos": 4,
            "frames": 192,
        }
    )
    config.model.backbone = "resnet18"
    config.data.dir = "data"
    config.data.image_size = 128
    config.train.epochs = 60
    config.train.learning_rate = 3e-4
    config.eval.every_epochs = 10
    config_lib.apply_arguments(config, argument, like="data.generate.like")
    config.dataset = f"synthetic_{config.data.generate.like}"
    return config
