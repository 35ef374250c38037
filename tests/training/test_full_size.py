"""The models of the paper at full size: two training steps and an evaluation from TFRecord, on a CPU.

Of clips of 4 frames; with ``MDHR_LARGE_TESTS=1`` in the environment of 16, which takes 10 GiB of memory.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdhr_jax.training import logs

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
FULL = "MDHR_LARGE_TESTS" in os.environ
FRAMES, NEIGHBORS = (16, 5) if FULL else (4, 1)
_NEEDED_GIB = 10.5 if FULL else 6.0


def free_gib() -> float:
    """Memory that can be had, GiB; without limit where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    (available,) = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return available / 2**20


@pytest.mark.parametrize(
    ("like", "backbone", "num_params"),
    [("bp4d", "resnet50", 93_226_054), ("disfa", "swin_base", 106_013_856)],
)
def test_two_steps_of_the_full_model(like, backbone, num_params, environment, tmp_path):
    if (free := free_gib()) < _NEEDED_GIB:
        pytest.skip(f"needs {_NEEDED_GIB} GiB of free memory, found {free:.1f}")
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
        f"--config.data.generate.frames={FRAMES}",
        f"--config.data.clip_length={FRAMES}",
        f"--config.model.neighbors={NEIGHBORS}",
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
