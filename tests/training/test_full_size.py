"""The models of the paper at full size: two training steps and an evaluation from TFRecord, on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mdhr_jax.training import logs

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("large")]  # One at a time, for their memory.

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("like", "backbone", "num_params"),
    [("bp4d", "resnet50", 93_226_054), ("disfa", "swin_base", 106_013_856)],
)
def test_two_steps_of_the_full_model(like, backbone, num_params, environment, tmp_path):
    arguments = [
        *(
            "--config",
            f"configs/synthetic.py:like={like},backbone={backbone}",
            "--workdir",
            str(tmp_path / "run"),
        ),
        f"--config.data.dir={tmp_path / 'data'}",
        "--config.data.generate.subjects=3",
        "--config.data.generate.videos=1",
        "--config.data.generate.frames=16",
        "--config.data.image_size=224",
        "--config.train.batch_size=1",
        "--config.train.epochs=1",
        "--config.eval.batch_size=1",
        "--config.log.tensorboard=False",
        "--config.log.every_steps=1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mdhr_jax.main", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in logs.read_log(tmp_path / "run", "train")] == [1, 2]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["num_params"] == num_params
