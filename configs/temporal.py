"""Does time help? MDHR with and without its temporal modules, on synthetic faces and a narrow backbone.

    NAME=configs/temporal.py:preset=changing,seed=0
    STILL="--config.model.mfd=False --config.model.tcn=False"
    python -m mdhr_jax.main --config $NAME --workdir runs/first-0 $STILL --config.train.epochs=12
    python -m mdhr_jax.main --config $NAME,init_from=runs/first-0 --workdir runs/full-0
    python -m mdhr_jax.main --config $NAME,init_from=runs/first-0 --workdir runs/still-0 $STILL
    python -m mdhr_jax.report.pairs runs/full-0 --against runs/still-0

``preset`` is ``changing`` or ``realistic``; each seed also draws other faces. About 35 minutes a seed on one
core, faces included. What was found stands in ``docs/synthetic.md``.

A model of still frames is trained first, and both then go on from it equally long: from random weights a
model with temporal modules learns more slowly, and the two would be compared by how far each has come. Unlike
the quickstart's, clips have the paper's 16 frames, and dynamics look at 2 frames on either side.
"""

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib


def get_config(argument: str | None = None) -> ConfigDict:
    config = config_lib.base()
    config.dataset = "synthetic_bp4d"
    config.data.generate = ConfigDict(
        {
            "like": "bp4d",
            "preset": "changing",
            "seed": 0,
            "subjects": 1440,
            "videos": 1,
            "frames": 32,
        }
    )
    config.model.backbone = "tiny"
    config.model.width = 64
    config.model.neighbors = 2
    config.data.image_size = 96
    config.data.clip_length = 16
    config.data.crop_margin = 6
    config.data.jitter = 0.2
    config.train.batch_size = 4
    config.train.epochs = 6
    config.train.learning_rate = 2e-3
    config.eval.every_epochs = 6
    config.log.every_steps = 20
    config.log.tensorboard = False
    config.data.dir = ""
    config_lib.apply_arguments(config, argument, preset="data.generate.preset")
    config.data.generate.seed = config.seed
    config.data.dir = config.data.dir or f"data/{config.data.generate.preset}-{config.seed}"
    return config
