"""The command of a training run that takes seconds, once it is compiled."""

import sys

EPOCHS, STEPS = 10, 10  # Four training videos, four clips a batch: one step an epoch.


def command(workdir, data, *overrides):
    return [
        *(sys.executable, "-m", "mdhr_jax.main", "--config", "configs/quickstart.py"),
        *("--workdir", str(workdir)),
        f"--config.data.dir={data}",
        "--config.data.generate.subjects=6",
        "--config.data.generate.videos=1",
        "--config.data.generate.frames=24",
        "--config.model.width=8",
        "--config.data.image_size=64",
        "--config.data.clip_length=4",
        "--config.train.batch_size=4",
        f"--config.train.epochs={EPOCHS}",
        "--config.eval.every_epochs=2",
        "--config.checkpoint.every_steps=1",
        "--config.log.every_steps=2",
        *overrides,
    ]
